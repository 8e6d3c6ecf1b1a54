import { Duration, Size } from 'aws-cdk-lib';

/** What is too much or too little for `MailAlarms`; what is not here has one threshold for all. */
export interface AlarmThresholds {
  /**
   * Messages in one node's queue that are too many.
   * @default 1000
   */
  readonly queueLengthMax?: number;

  /**
   * Age of a queued message that is too old. Other servers' greylisting and short outages delay mail by some minutes.
   * @default Duration.minutes(30)
   */
  readonly queueAgeMax?: Duration;

  /**
   * Days that a certificate must still be valid.
   * @default 30
   */
  readonly certificateDaysMin?: number;

  /**
   * TLS handshakes with clients that may fail in five minutes. Scanners fail some all the time.
   * @default 100
   */
  readonly clientTlsErrorsMax?: number;

  /**
   * Size of the store that you want to be told of, such as the size that the budget covers.
   * @default - no alarm; the store itself has no limit
   */
  readonly storeSizeMax?: Size;
}
