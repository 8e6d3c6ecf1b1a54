import type { ConnectionOptions } from 'node:tls';
import type { LocalNode } from '../../local/node';
import { base64, fromBase64, LineClient } from './line-client';

export const PROTOCOLS = ['imap', 'pop3', 'smtp', 'sieve'] as const;
export type Protocol = (typeof PROTOCOLS)[number];

/** How a login ended. */
export interface Attempt {
  readonly ok: boolean;
  /** The server's last line. */
  readonly answer: string;
  /** What the server said before that, if anything, such as why a token is refused (RFC 7628, 3.2.2). */
  readonly challenge: string;
  readonly client: LineClient;
}

export interface AttemptOptions {
  readonly tls: ConnectionOptions;
  /** Whether the first message goes with the command. @default true */
  readonly initial?: boolean;
  /** The client's address. @default - any */
  readonly from?: string;
}

interface Dialect {
  readonly start: (mechanism: string, initial?: string) => string;
  readonly message: (text: string) => string;
  readonly end: RegExp;
  readonly good: RegExp;
  /** The message in a line of the server that asks for more. */
  readonly more: RegExp;
}

const word = (text?: string) => (text === undefined ? '' : ` ${text}`);

const DIALECTS: { readonly [protocol in Protocol]: Dialect } = {
  imap: {
    start: (mechanism, initial) => `a1 AUTHENTICATE ${mechanism}${word(initial)}`,
    message: (text) => text,
    end: /^a1 /,
    good: /^a1 OK/,
    more: /^\+ ?(\S*)$/,
  },
  pop3: {
    start: (mechanism, initial) => `AUTH ${mechanism}${word(initial)}`,
    message: (text) => text,
    end: /^(\+OK|-ERR)/,
    good: /^\+OK/,
    more: /^\+ ?([^O\s]\S*)?$/,
  },
  smtp: {
    start: (mechanism, initial) => `AUTH ${mechanism}${word(initial)}`,
    message: (text) => text,
    end: /^[245]\d\d /,
    good: /^235 /,
    more: /^334 ?(\S*)$/,
  },
  sieve: {
    start: (mechanism, initial) => `AUTHENTICATE "${mechanism}"${initial === undefined ? '' : ` "${initial}"`}`,
    message: (text) => `"${text}"`,
    end: /^(OK|NO|BYE)/,
    good: /^OK/,
    more: /^"?([^"{]*)"?$/,
  },
};

/** A connection under TLS, at the point where a client logs in. */
async function connect(node: LocalNode, protocol: Protocol, { tls, from }: AttemptOptions): Promise<LineClient> {
  const secure = { ...tls, localAddress: from } as ConnectionOptions;
  if (protocol === 'imap' || protocol === 'pop3') {
    const client = await LineClient.tls(node.address, protocol === 'imap' ? 993 : 995, secure);
    await client.expect(/^(\* OK|\+OK)/);
    return client;
  }
  const client = await LineClient.tcp(node.address, protocol === 'smtp' ? 587 : 4190, from);
  if (protocol === 'smtp') {
    await client.expect(/^220 /);
    await client.ask('EHLO client.example.net', /^250 /);
    await client.ask('STARTTLS', /^220 /);
    await client.startTls(tls);
    await client.ask('EHLO client.example.net', /^250 /);
  } else {
    await client.expect(/^OK/);
    await client.ask('STARTTLS', /^OK/);
    await client.startTls(tls);
    await client.expect(/^OK/);
  }
  return client;
}

/** Logs in with a mechanism of one message; the connection stays open when that is good. */
export async function attempt(
  node: LocalNode,
  protocol: Protocol,
  mechanism: string,
  message: string,
  options: AttemptOptions,
): Promise<Attempt> {
  const dialect = DIALECTS[protocol];
  const client = await connect(node, protocol, options);
  const initial = options.initial ?? true;
  let left = initial ? undefined : message;
  let challenge = '';
  client.send(dialect.start(mechanism, initial ? base64(message) : undefined));
  for (;;) {
    const line = (await client.expect(new RegExp(`${dialect.end.source}|${dialect.more.source}`))).trimEnd();
    const answer = line.split('\n').pop()!.trimEnd();
    if (dialect.end.test(answer)) {
      const ok = dialect.good.test(answer);
      if (!ok) client.close();
      return { ok, answer, challenge, client };
    }
    if (left === undefined) challenge = fromBase64(dialect.more.exec(answer)![1] ?? '');
    // What follows a refusal is an empty message (RFC 7628, 3.2.3, which has a %x01; Google's XOAUTH2 has nothing).
    client.send(dialect.message(left === undefined ? '' : base64(left)));
    left = undefined;
  }
}

/** The message of a mechanism that carries a token. */
export function tokenMessage(mechanism: string, user: string, token: string): string {
  return mechanism === 'XOAUTH2'
    ? `user=${user}\x01auth=Bearer ${token}\x01\x01`
    : `n,a=${user},\x01auth=Bearer ${token}\x01\x01`;
}

/** The message of PLAIN. */
export function plainMessage(user: string, password: string): string {
  return `\0${user}\0${password}`;
}
