import { randomBytes } from 'node:crypto';

/** What SES found and knows of a message; the rest is as SES tells of good mail. */
export interface Taken {
  readonly subject: string;
  readonly recipients: string[];
  readonly sender?: string;
  /** Who brought it to SES. @default - mx.example.net, 198.51.100.77 */
  readonly client?: { readonly name: string; readonly address: string };
  /** Verdicts that are not PASS. */
  readonly verdicts?: { readonly [name: string]: string };
  readonly dmarcPolicy?: string;
  /** Fields that the sender wrote besides From and Subject, each with CRLF. */
  readonly fields?: string;
  /** @default someone@example.net */
  readonly from?: string;
  readonly body?: string;
}

/** A message as SES stores it in a bucket, with its lines on top, and its notice, as the topic puts it into the queue. */
export function takenBySes(
  bucket: string,
  { subject, recipients, ...more }: Taken,
): { key: string; raw: string; notice: string } {
  const id = randomBytes(20).toString('hex');
  const key = `mail/${id}`;
  const sender = more.sender ?? 'someone@example.net';
  const { name, address } = more.client ?? { name: 'mx.example.net', address: '198.51.100.77' };
  const raw =
    `Return-Path: <${sender}>\r\n` +
    `Received: from ${name} (${name} [${address}])\r\n by inbound-smtp.us-east-1.amazonaws.com with SMTP id ${id}\r\n` +
    ` for ${recipients[0]};\r\n Sun, 22 Nov 2026 16:00:00 +0000 (UTC)\r\nX-SES-Spam-Verdict: PASS\r\nX-SES-Virus-Verdict: PASS\r\n` +
    `${more.fields ?? ''}From: <${more.from ?? 'someone@example.net'}>\r\nTo: <nobody@elsewhere.example>\r\nSubject: ${subject}\r\n\r\n` +
    (more.body ?? 'hello\r\n');
  const verdict = (of: string) => ({ status: more.verdicts?.[of] ?? 'PASS' });
  const notice = JSON.stringify({
    notificationType: 'Received',
    mail: { timestamp: '2026-11-22T16:00:00.000Z', source: sender, messageId: id, destination: recipients },
    receipt: {
      timestamp: '2026-11-22T16:00:00.000Z',
      processingTimeMillis: 400,
      recipients,
      ...Object.fromEntries(['spam', 'virus', 'spf', 'dkim', 'dmarc'].map((of) => [`${of}Verdict`, verdict(of)])),
      ...(more.dmarcPolicy ? { dmarcPolicy: more.dmarcPolicy } : {}),
      action: {
        type: 'S3',
        topicArn: 'arn:aws:sns:us-east-1:123456789012:topic',
        bucketName: bucket,
        objectKeyPrefix: 'mail/',
        objectKey: key,
      },
    },
  });
  return { key, raw, notice };
}
