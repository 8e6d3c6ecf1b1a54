import { createHmac } from 'node:crypto';

/**
 * The password by which the owner of an access key logs in to the SMTP endpoint of SES in one region. The secret access
 * key can't be had from it.
 *
 * @see https://docs.aws.amazon.com/ses/latest/dg/smtp-credentials.html#smtp-credentials-convert
 */
export function smtpPassword(secretAccessKey: string, region: string): string {
  // The date is a fixed one, so that the password does not change.
  const signature = ['11111111', region, 'ses', 'aws4_request', 'SendRawEmail'].reduce<Buffer>(
    (key, message) => createHmac('sha256', key).update(message).digest(),
    Buffer.from(`AWS4${secretAccessKey}`),
  );
  const version = 0x04;
  return Buffer.concat([Buffer.from([version]), signature]).toString('base64');
}
