import { ImapFlow } from 'imapflow';
import { createTransport } from 'nodemailer';

/** A mailbox and the password that opens it. */
export interface LocalUser {
  readonly address: string;
  readonly password: string;
}

/** Where clients find the cluster. */
export interface ClientView {
  readonly address: string;
  /** Name that the certificate must carry. */
  readonly hostname: string;
  /** PEM of the authority that signed it. */
  readonly authority: string;
}

/** Milliseconds that a client waits; what is left out is as the client has it. */
export interface Patience {
  readonly connectionTimeout?: number;
  readonly greetingTimeout?: number;
  /** Without a byte. */
  readonly socketTimeout?: number;
}

/** A client that submits mail (587, STARTTLS) and checks the certificate. */
export function submissionClient(view: ClientView, user: LocalUser, patience: Patience = {}) {
  return createTransport({
    ...patience,
    host: view.address,
    port: 587,
    requireTLS: true,
    tls: { ca: view.authority, servername: view.hostname },
    auth: { user: user.address, pass: user.password },
  });
}

/** A client that reads mail (993) and checks the certificate; not connected yet. */
export function imapClient(view: ClientView, user: LocalUser, patience: Patience = {}): ImapFlow {
  // ImapFlow hands all of this to tls.connect, though its types name only some of it.
  const tls = { ca: view.authority, servername: view.hostname, rejectUnauthorized: true };
  // Its types do not name the times that it takes.
  const options: ConstructorParameters<typeof ImapFlow>[0] & Patience & { disableAutoEnable: boolean } = {
    ...patience,
    host: view.address,
    port: 993,
    secure: true,
    logger: false,
    // Dovecot 2.4.1 wants names of folders in modified UTF-7 even after ENABLE UTF8=ACCEPT.
    disableAutoEnable: true,
    tls,
    auth: { user: user.address, pass: user.password },
  };
  const client = new ImapFlow(options);
  client.on('error', () => undefined); // the failed command reports it as well
  return client;
}
