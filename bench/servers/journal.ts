import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import * as path from 'node:path';
import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { hourFolder, tagOf } from '../../bin/restore/journal-key';
import type { LocalCluster } from '../../local/cluster';
import { queueIdAt } from '../../test/support/journal';
import { message } from '../load/message';

const SENDER = 'someone@example.net';

/**
 * Puts messages to a user into the journal as its daemon does, a second apart until now.
 *
 * @returns SHA-256 of each message, hexadecimal
 */
export async function fillJournal(
  cluster: LocalCluster,
  bucket: string,
  user: string,
  count: number,
  bytes: number,
): Promise<string[]> {
  const folder = mkdtempSync(path.join(cluster.folder, 'journal-'));
  const begin = Math.floor(Date.now() / 1000) * 1000 - count * 1000;
  const messages = Array.from({ length: count }, (_none, index) => {
    const time = new Date(begin + index * 1000);
    const queueId = queueIdAt(time.getTime(), index);
    const received =
      `Received: from mx.example.net (mx.example.net [192.0.2.7])\r\n` +
      `\tby mx.example.com (Postfix) with ESMTPS id ${queueId}\r\n\tfor <${user}>; ${time.toUTCString()}\r\n`;
    const text = `${received}${filled(message(SENDER, user), bytes)}\r\n`;
    const envelope =
      `X-Journal-Queue-Id: ${queueId}\r\nX-Journal-Arrival: ${time.toISOString().replace('.000', '')}\r\n` +
      `X-Journal-From: <${SENDER}>\r\nX-Journal-To: <${user}>\r\n`;
    const content = envelope + text;
    const key = `${hourFolder(time)}${queueId}-${sha256(content).slice(0, 16)}.eml.zst`;
    const file = path.join(folder, `${index}`);
    writeFileSync(file, content);
    return { key, file, size: text.length, digest: sha256(text) };
  });
  execFileSync('zstd', ['--quiet', '--rm', '-r', folder]);

  const s3 = new S3Client(cluster.aws.client);
  const rest = messages[Symbol.iterator]();
  const worker = async () => {
    for (const { key, file, size } of rest) {
      await s3.send(
        new PutObjectCommand({
          Bucket: bucket,
          Key: key,
          Body: readFileSync(`${file}.zst`),
          ChecksumAlgorithm: 'SHA256',
          ContentType: 'application/zstd',
          Metadata: { from: tagOf(SENDER), to: tagOf(user), recipients: '1', 'message-size': `${size}` },
        }),
      );
    }
  };
  await Promise.all(Array.from({ length: 8 }, worker));
  s3.destroy();
  rmSync(folder, { recursive: true });
  return messages.map(({ digest }) => digest);
}

/** Made longer by its own text until it has so many bytes. */
function filled(text: string, bytes: number): string {
  const body = text.slice(text.indexOf('\r\n\r\n') + 4);
  return text + `\r\n${body}`.repeat(Math.max(0, Math.round((bytes - text.length) / body.length)));
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
