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
   * Days that a certificate must still be valid. Nodes renew their own when 32 are left: more than 31 is for certificates that you bring.
   * @default 30
   */
  readonly certificateDaysMin?: number;

  /**
   * TLS handshakes with clients that may fail in five minutes. Scanners fail some all the time.
   * @default 100
   */
  readonly clientTlsErrorsMax?: number;

  /**
   * Logins that may fail in an hour, on all nodes together. A person who mistypes fails a few; a program that guesses, or a
   * device with an old password, fails all the time.
   * @default 50
   */
  readonly failedLoginsMax?: number;

  /**
   * Share of an hour's logins that may fail, percent.
   * @default 5
   */
  readonly loginFailureRateMax?: number;

  /**
   * Logins in an hour, good and bad together, below which that share says nothing.
   * @default 100
   */
  readonly loginFailureRateFrom?: number;

  /**
   * Size of the store that you want to be told of, such as the size that the budget covers.
   * @default - no alarm; the store itself has no limit
   */
  readonly storeSizeMax?: Size;
}
