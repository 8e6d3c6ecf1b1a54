import { setTimeout as sleep } from 'node:timers/promises';
import { ImapFlow } from 'imapflow';

/** A node that goes, or a mailbox that moves to another, is back by then. Milliseconds before each further attempt. */
const PAUSES = [1000, 2000, 5000, 10_000, 20_000];

/** Where mailboxes are and how they are opened. */
export interface ImapServer {
  /** `imaps://host:993`, or `imap://host:143` with STARTTLS; without on this machine (127.0.0.1). */
  readonly url: string;
  /**
   * Name that the certificate must have, where one connects by a tunnel.
   * @default - the host of the URL
   */
  readonly tlsName?: string;
  /**
   * Login for a mailbox, with `{user}` for its address; a master user of Dovecot is `{user}*master`.
   * @default {user}
   */
  readonly login?: string;
  readonly password: string;
}

/** The server took the message in no way that a further attempt would change. */
export class RefusedError extends Error {}

/** Opens a session for a mailbox, and tries again when the server is away. @throws RefusedError when it knows no such login */
export async function connectTo(server: ImapServer, user: string): Promise<ImapFlow> {
  const login = (server.login ?? '{user}').replaceAll('{user}', user);
  for (let attempt = 0; ; attempt++) {
    const client = clientFor(server, login);
    try {
      await client.connect();
      return client;
    } catch (error) {
      client.close();
      const { serverResponseCode, authenticationFailed } = error as {
        serverResponseCode?: string;
        authenticationFailed?: boolean;
      };
      if (authenticationFailed && serverResponseCode === 'AUTHENTICATIONFAILED') {
        throw new RefusedError(`${user}: no login as ${login}: ${textOf(error)}`);
      }
      if (attempt === PAUSES.length) {
        throw new Error(`${server.url}: no login as ${login}: ${textOf(error)}`);
      }
      await sleep(PAUSES[attempt]);
    }
  }
}

/** Whether a further attempt would meet with the same. Dovecot says which faults pass: RFC 5530 section 3. */
export function isRefusal(error: unknown): boolean {
  const { responseStatus, serverResponseCode } = error as { responseStatus?: string; serverResponseCode?: string };
  const passes = ['UNAVAILABLE', 'INUSE', 'SERVERBUG', 'TRYCREATE'].includes(serverResponseCode ?? '');
  return (responseStatus === 'NO' || responseStatus === 'BAD') && !passes;
}

/** What the server said, where it said something. */
export function textOf(error: unknown): string {
  const { responseText, message } = error as { responseText?: string; message: string };
  return responseText ?? message;
}

function clientFor({ url, tlsName, password }: ImapServer, login: string): ImapFlow {
  const { protocol, hostname, port } = new URL(url);
  const secure = protocol === 'imaps:';
  // Its types name only some of what it takes.
  const options: ConstructorParameters<typeof ImapFlow>[0] & {
    doSTARTTLS?: boolean;
    disableAutoEnable?: boolean;
    disableCompression?: boolean;
  } = {
    host: hostname,
    port: Number(port || (secure ? 993 : 143)),
    secure,
    ...(secure ? {} : { doSTARTTLS: hostname !== '127.0.0.1' }),
    servername: tlsName,
    tls: { rejectUnauthorized: true, ...(tlsName ? { servername: tlsName } : {}) } as object,
    auth: { user: login, pass: password },
    logger: false,
    disableAutoIdle: true,
    // Dovecot 2.4.1 wants names of folders in modified UTF-7 even after ENABLE UTF8=ACCEPT.
    disableAutoEnable: true,
    // It costs both ends more processor than all the rest of an APPEND.
    disableCompression: true,
  };
  const client = new ImapFlow(options);
  client.on('error', () => undefined); // the failed command reports it as well
  return client;
}
