import { MailService, TlsStart } from '../../lib/access/mail-service';

/** A server as mail clients set it up. */
export interface MailServer {
  /** As Mozilla's format names it; upper case in Microsoft's. */
  readonly protocol: 'imap' | 'pop3' | 'smtp';
  readonly port: number;
  readonly tlsStart: TlsStart;
}

/** Where clients get tokens instead of asking for a password. */
export interface SignIn {
  readonly issuer: string;
  readonly clientId: string;
  readonly scopes: string[];
  readonly authorizationUrl: string;
  readonly tokenUrl: string;
}

const PROTOCOLS: [MailService, MailServer['protocol']][] = [
  [MailService.IMAPS, 'imap'],
  [MailService.POP3S, 'pop3'],
  [MailService.SUBMISSIONS, 'smtp'],
  [MailService.SUBMISSION, 'smtp'],
];

/** Those that are offered, the better one first: clients take the first that they can use (RFC 8314, 5.1). */
export function serversOf(services: string[]): MailServer[] {
  return PROTOCOLS.filter(([{ name }]) => services.includes(name)).map(([{ port, tlsStart }, protocol]) => ({
    protocol,
    port,
    tlsStart,
  }));
}

/** Text within an element or an attribute. */
export function escapeXml(text: string): string {
  return text.replace(/[<>&"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
