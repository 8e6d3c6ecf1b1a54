import { randomUUID } from 'node:crypto';
import { ImapFlow } from 'imapflow';
import { createTransport } from 'nodemailer';
import type { LocalUser } from './cluster';
import { waitFor } from './run';

/** Where clients find the cluster. */
export interface ClientView {
  readonly address: string;
  /** Name that the certificate must carry. */
  readonly hostname: string;
  /** PEM of the authority that signed it. */
  readonly authority: string;
}

/** Sends one message by submission (587, STARTTLS). Resolves when the server has taken it. */
export async function submit(view: ClientView, from: LocalUser, to: string, subject: string): Promise<void> {
  const transport = createTransport({
    host: view.address,
    port: 587,
    requireTLS: true,
    // A node that dies may leave a connection open that answers nothing.
    connectionTimeout: 5000,
    greetingTimeout: 5000,
    socketTimeout: 10_000,
    tls: { ca: view.authority, servername: view.hostname },
    auth: { user: from.address, pass: from.password },
  });
  try {
    await transport.sendMail({ from: from.address, to, subject, text: `Sent through ${view.hostname}.` });
  } finally {
    transport.close();
  }
}

/** Reads the subjects in a user's INBOX by IMAP (993). */
export async function inbox(view: ClientView, user: LocalUser): Promise<string[]> {
  // ImapFlow hands all of this to tls.connect, though its types name only some of it.
  const tls = { ca: view.authority, servername: view.hostname, rejectUnauthorized: true };
  const client = new ImapFlow({
    host: view.address,
    port: 993,
    secure: true,
    logger: false,
    tls,
    auth: { user: user.address, pass: user.password },
  });
  client.on('error', () => undefined); // the failed command reports it as well
  await client.connect();
  try {
    const { exists } = await client.mailboxOpen('INBOX', { readOnly: true });
    if (exists === 0) return [];
    const subjects: string[] = [];
    for await (const message of client.fetch('1:*', { envelope: true })) subjects.push(message.envelope?.subject ?? '');
    return subjects;
  } finally {
    await client.logout().catch(() => client.close());
  }
}

/**
 * Sends a message from one user to another and reads it back, as a client does: a refused or reset connection is
 * tried again. Resolves to the seconds that it took.
 */
export async function roundTrip(view: ClientView, from: LocalUser, to: LocalUser, timeout = 30_000): Promise<number> {
  const begin = Date.now();
  const subject = `Round trip ${randomUUID()}`;
  await waitFor(`${from.address} to send`, timeout, async () => {
    await submit(view, from, to.address, subject);
    return true;
  });
  await waitFor(`${to.address} to receive`, timeout, async () =>
    (await inbox(view, to)).includes(subject) ? true : undefined,
  );
  return (Date.now() - begin) / 1000;
}
