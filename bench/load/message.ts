import { randomBytes, randomUUID } from 'node:crypto';

/** A text message of about 4 KiB, no two alike, with lines as mail has them. */
export function message(from: string, to: string): string {
  const body = Array.from({ length: 48 }, () => words(12)).join('\r\n');
  return [
    `From: <${from}>`,
    `To: <${to}>`,
    `Subject: ${words(4)}`,
    `Date: ${new Date().toUTCString().replace('GMT', '+0000')}`,
    `Message-ID: <${randomUUID()}@mail.example.com>`,
    'MIME-Version: 1.0',
    'Content-Type: text/plain; charset=us-ascii',
    '',
    body,
  ].join('\r\n');
}

/** Words of six letters from a vocabulary of 4096. */
function words(count: number): string {
  return Array.from({ length: count }, () => {
    const number = randomBytes(2).readUInt16BE() % 4096;
    return [0, 4, 8].map((shift) => SYLLABLES[(number >> shift) & 15]).join('');
  }).join(' ');
}

const SYLLABLES = 'ba be bi bo da de di do ka ke ki ko ma me mi mo'.split(' ');
