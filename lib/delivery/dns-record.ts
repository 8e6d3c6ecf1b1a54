/** A DNS record that is to be published, as a zone file has it. Values may hold tokens. */
export interface MailDnsRecord {
  /** Full name, without the dot at the end. */
  readonly name: string;

  /** Such as `CNAME`. */
  readonly type: string;

  /** Such as `10 feedback-smtp.eu-central-1.amazonses.com`; text of TXT records is in double quotes. */
  readonly value: string;
}
