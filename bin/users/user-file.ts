import { createHash } from 'node:crypto';
import { AppPassword, checkName, makeAppPassword, parseAppPassword, renderAppPassword } from './app-password';
import { scramVerifier } from './password';

export { ITERATIONS, preparePassword, scramVerifier } from './password';

/** Shortest password of a new user, characters. */
export const PASSWORD_LENGTH_MIN = 8;

/** Field of users, and of domains, whose passwords are good nowhere. */
const SECOND_FACTOR = 'login=second-factor';

/** Field with other addresses of a user. */
const ALIASES = 'aliases=';

/** Settings of one user. */
export interface UserOptions {
  /**
   * Size of the mailbox in Dovecot's notation, such as `10G` or `500M`.
   * @default - the size that all users have
   */
  readonly quota?: string;
}

/** Somebody whose mail is being erased, or was. */
export interface Erasure {
  /** SHA-256 of the address, hexadecimal: nodes find mailboxes by it, and it tells nobody who it was. */
  readonly subject: string;
  readonly since: Date;
  /** From when on mail is deleted for good; nothing while a legal hold forbids it. */
  readonly due?: Date;
}

/** `Erasure.subject` of an address. */
export function subjectOf(address: string): string {
  return createHash('sha256').update(address.toLowerCase()).digest('hex');
}

const ERASED = /^#erased ([0-9a-f]{64}) (\S+) (\S+)$/;

/**
 * The users file: Dovecot's passwd-file, one user to a line, verifiers only. Comments and the order of lines are kept.
 *
 * @see https://doc.dovecot.org/2.4.1/core/config/auth/databases/passwd_file.html
 */
export class UserFile {
  /**
   * Reads a file; nothing is a file without users.
   *
   * @throws on a line that is neither a user, a comment nor empty, with its number
   */
  public static parse(text = ''): UserFile {
    const lines = text.split('\n').map((line) => line.trimEnd());
    while (lines.length > 0 && lines[lines.length - 1] === '') {
      lines.pop();
    }
    const file = new UserFile(lines);
    // Lines of domains and comments stay as they are.
    lines.forEach((line, index) => {
      if (!isUserLine(line)) {
        return;
      }
      const address = addressOf(line);
      if (!/^[^:]+:\{[A-Z0-9.-]+\}/.test(line)) {
        throw new Error(`users file, line ${index + 1}: expected address:{SCHEME}verifier`);
      }
      if (lines.findIndex((other) => isUserLine(other) && addressOf(other) === address) !== index) {
        throw new Error(`users file, line ${index + 1}: ${address} is there twice`);
      }
    });
    return file;
  }

  private constructor(private readonly lines: string[]) {}

  /** Addresses in the order of the file. */
  public addresses(): string[] {
    return this.lines.filter(isUserLine).map(addressOf);
  }

  public has(address: string): boolean {
    return this.find(checkAddress(address)) >= 0;
  }

  /**
   * Adds a user.
   *
   * @throws when the address is bad or taken, or the password or quota is bad
   */
  public add(address: string, password: string, options: UserOptions = {}): void {
    const user = checkAddress(address);
    if (this.find(user) >= 0) {
      throw new Error(`${user} is a user already; use "password" to change the password`);
    }
    if (this.erasure(user)) {
      throw new Error(
        `mail of ${user} is being erased, or was; "mail-erase undo" ends that, backups may still hold old mail`,
      );
    }
    checkLength(password);
    // user:password:uid:gid:gecos:home:shell:extra fields
    const quota = options.quota === undefined ? '' : `userdb_quota_storage_size=${checkQuota(options.quota)}`;
    this.lines.push(`${user}:${scramVerifier(password)}::::::${quota}`);
  }

  /**
   * Changes a password; other fields of the user stay.
   *
   * @throws when there is no such user, or the password is bad
   */
  public setPassword(address: string, password: string): void {
    const index = this.mustFind(checkAddress(address));
    checkLength(password);
    const [user, , ...rest] = this.lines[index].split(':');
    this.lines[index] = [user, scramVerifier(password), ...rest].join(':');
  }

  /**
   * Gives the user a new password for one device or program.
   *
   * @returns the password, which is stored nowhere
   * @throws when there is no such user, the name is bad or taken, or a protocol is unknown
   */
  public addAppPassword(address: string, name: string, protocols: string[]): string {
    const index = this.mustFind(checkAddress(address));
    const others = this.appPasswords(address);
    if (others.some((other) => other.name === name)) {
      throw new Error(`${checkAddress(address)} has an app password ${name} already; revoke it first`);
    }
    const taken = others.map(({ id }) => id);
    const { entry, password } = makeAppPassword(name, protocols, taken);
    this.changeFields(index, (fields) => [...fields, renderAppPassword(entry)]);
    return password;
  }

  /** The user's app passwords. @throws when there is no such user */
  public appPasswords(address: string): AppPassword[] {
    const fields = fieldsOf(this.lines[this.mustFind(checkAddress(address))]);
    return fields.map(parseAppPassword).filter((entry) => entry !== undefined);
  }

  /** Takes an app password away. @throws when the user has none of that name */
  public revokeAppPassword(address: string, name: string): void {
    checkName(name);
    if (!this.appPasswords(address).some((entry) => entry.name === name)) {
      throw new Error(`${checkAddress(address)} has no app password ${name}; "app-password list" shows them`);
    }
    this.changeFields(this.mustFind(checkAddress(address)), (fields) =>
      fields.filter((field) => parseAppPassword(field)?.name !== name),
    );
  }

  /** Whether the user may log in at all; mail is taken in any case. @throws when there is no such user */
  public setEnabled(address: string, enabled: boolean): void {
    this.setFlag(this.mustFind(checkAddress(address)), 'login=none', !enabled);
  }

  /**
   * Whether the passwords of a user, or of all users of a domain, are good nowhere, so that it takes a token or an app
   * password.
   *
   * @param whom an address, or a domain
   * @throws when there is no such user, or the domain is bad
   */
  public requireSecondFactor(whom: string, required: boolean): void {
    if (whom.includes('@')) {
      this.setFlag(this.mustFind(checkAddress(whom)), SECOND_FACTOR, required);
      return;
    }
    const [, domain] = checkAddress(`user@${whom}`).split('@');
    const index = this.lines.findIndex((line) => line.startsWith(`@${domain}:`));
    if (required && index < 0) {
      this.lines.push(`@${domain}:::::::${SECOND_FACTOR}`);
    } else if (!required && index >= 0) {
      this.lines.splice(index, 1);
    }
  }

  /**
   * Removes a user. Mail stays in the store.
   *
   * @throws when there is no such user
   */
  public remove(address: string): void {
    this.lines.splice(this.mustFind(checkAddress(address)), 1);
  }

  /**
   * Has mail to an alias go to the user too, who may send from it; several users may have it. It may be there already.
   *
   * @param alias an address, also with letters beyond ASCII before the @ (RFC 6531), or `@domain` for what nobody has there
   * @throws when there is no such user, or the alias is bad or a user's address
   */
  public addAlias(alias: string, address: string): void {
    const name = checkAlias(alias);
    if (this.lines.some((line) => isUserLine(line) && addressOf(line) === name)) {
      throw new Error(`${name} is a user, and can't be an alias`);
    }
    this.changeFields(this.mustFind(checkAddress(address)), (fields) => {
      const before = fields.find((field) => field.startsWith(ALIASES));
      const names = new Set([...(before?.slice(ALIASES.length).split(',') ?? []), name]);
      return [...fields.filter((field) => field !== before), ALIASES + [...names].join(',')];
    });
  }

  /** Addresses that mail comes in for, of users and their aliases. */
  public allAddresses(): string[] {
    const aliases = this.lines
      .filter(isUserLine)
      .flatMap((line) => /(?:^|[: ])aliases=(\S+)/.exec(line)?.[1].split(',') ?? []);
    return [...this.addresses(), ...aliases.map((alias) => alias.toLowerCase())];
  }

  /** All erasures; they stay, so that nodes erase again what a restored backup brings back. */
  public erasures(): Erasure[] {
    return this.lines.flatMap((line) => {
      const [, subject, since, due] = ERASED.exec(line) ?? [];
      return subject === undefined
        ? []
        : [{ subject, since: new Date(since), due: due === 'held' ? undefined : new Date(due) }];
    });
  }

  public erasure(address: string): Erasure | undefined {
    return this.erasures().find(({ subject }) => subject === subjectOf(address));
  }

  /** Removes the user, if there is one, and marks the address for erasure, or changes the mark that is there. */
  public erase(address: string, since: Date, due?: Date): void {
    const user = checkAddress(address);
    if (this.find(user) >= 0) this.remove(user);
    const first = this.erasure(user)?.since ?? since;
    this.unerase(user);
    const [begun, end] = [first, due].map((time) => time?.toISOString().replace(/\.\d+/, '') ?? 'held');
    this.lines.push(`#erased ${subjectOf(user)} ${begun} ${end}`);
  }

  /** Takes the mark away. */
  public unerase(address: string): void {
    const index = this.lines.findIndex((line) => ERASED.exec(line)?.[1] === subjectOf(address));
    if (index >= 0) this.lines.splice(index, 1);
  }

  /** The text of the file. */
  public toString(): string {
    return this.lines.map((line) => `${line}\n`).join('');
  }

  private setFlag(index: number, flag: string, on: boolean): void {
    this.changeFields(index, (fields) => [...fields.filter((field) => field !== flag), ...(on ? [flag] : [])]);
  }

  private changeFields(index: number, change: (fields: string[]) => string[]): void {
    const line = this.lines[index];
    this.lines[index] = line.slice(0, line.lastIndexOf(':') + 1) + change(fieldsOf(line)).join(' ');
  }

  private find(user: string): number {
    return this.lines.findIndex((line) => isUserLine(line) && addressOf(line) === user);
  }

  private mustFind(user: string): number {
    const index = this.find(user);
    if (index < 0) {
      throw new Error(`${user} is not a user; "list" shows who is`);
    }
    return index;
  }
}

/**
 * An address as the file holds it, in lower case.
 *
 * Stricter than RFC 5321 on purpose: the name becomes a folder on nodes, a colon would end the field, and what follows
 * a `+` is a detail of the recipient, not another user.
 *
 * @throws on anything but letters, digits, `.`, `_` and `-` at a domain of at least two labels
 */
export function checkAddress(address: string): string {
  const lower = address.toLowerCase();
  const [local, domain, ...more] = lower.split('@');
  const localIsGood = /^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/.test(local) && local.length <= 64;
  const domainIsGood =
    /^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]$/.test(domain ?? '') && domain.length <= 253;
  if (more.length > 0 || !localIsGood || !domainIsGood) {
    throw new Error(
      `address must be name@domain with letters, digits, ".", "_" and "-", got ${JSON.stringify(address)}`,
    );
  }
  return lower;
}

/**
 * An alias as the file holds it: in lower case, NFC. It names no folder, so it may be in any language.
 *
 * @throws on anything but letters of any kind, digits, `.`, `_` and `-`, or nothing, before a domain
 */
export function checkAlias(alias: string): string {
  const lower = alias.normalize('NFC').toLowerCase();
  const [local, ...rest] = lower.split('@');
  if (
    !/^([\p{L}\p{N}_-][\p{L}\p{M}\p{N}_-]*(\.[\p{L}\p{M}\p{N}_-]+)*)?$/u.test(local) ||
    Buffer.byteLength(local) > 64
  ) {
    throw new Error(
      `alias must be name@domain with letters, digits, ".", "_" and "-", or @domain, got ${JSON.stringify(alias)}`,
    );
  }
  checkAddress(`alias@${rest.join('@')}`);
  return lower;
}

function checkLength(password: string): void {
  if ([...password].length < PASSWORD_LENGTH_MIN) {
    throw new Error(`password must have ${PASSWORD_LENGTH_MIN} characters or more`);
  }
}

function checkQuota(quota: string): string {
  if (!/^[1-9][0-9]*[MGT]$/.test(quota)) {
    throw new Error(`quota must be a number and M, G or T, such as 10G, got ${JSON.stringify(quota)}`);
  }
  return quota;
}

function isUserLine(line: string): boolean {
  return line !== '' && !line.startsWith('#') && !line.startsWith('@');
}

/** The extra fields of a line. */
function fieldsOf(line: string): string[] {
  return line
    .slice(line.lastIndexOf(':') + 1)
    .split(' ')
    .filter((field) => field !== '');
}

function addressOf(line: string): string {
  return line.slice(0, line.indexOf(':') < 0 ? undefined : line.indexOf(':')).toLowerCase();
}
