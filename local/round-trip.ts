import { randomUUID } from 'node:crypto';
import { imapClient, submissionClient, type ClientView, type LocalUser } from './mail-clients';
import { waitFor } from './run';

/** A node that dies may leave a connection open that answers nothing. Milliseconds. */
const PATIENCE = { connectionTimeout: 5000, greetingTimeout: 5000, socketTimeout: 10_000 };

/** Sends one message by submission (587, STARTTLS). Resolves when the server has taken it. */
export async function submit(view: ClientView, from: LocalUser, to: string, subject: string): Promise<void> {
  const transport = submissionClient(view, from, PATIENCE);
  try {
    await transport.sendMail({ from: from.address, to, subject, text: `Sent through ${view.hostname}.` });
  } finally {
    transport.close();
  }
}

/** Reads the subjects in a user's INBOX by IMAP (993). */
export async function inbox(view: ClientView, user: LocalUser): Promise<string[]> {
  const client = imapClient(view, user);
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
