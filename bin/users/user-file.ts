import { createHash } from 'node:crypto';
import {
  AppPassword,
  checkName,
  checkProtocols,
  makeAppPassword,
  parseAppPassword,
  renderAppPassword,
} from './app-password';
import { scramVerifier } from './password';

export { ITERATIONS, preparePassword, scramVerifier } from './password';

/** Shortest password of a new user, characters. */
export const PASSWORD_LENGTH_MIN = 8;

/** Field of users, and of domains, whose passwords are good nowhere. */
const SECOND_FACTOR = 'login=second-factor';
/** Field of users, and of domains, who don't log in. */
const NO_LOGIN = 'login=none';
const QUOTA = 'userdb_quota_storage_size=';
const PROTOCOLS = 'protocols=';
const ALIASES = 'aliases=';
const GROUPS = 'groups=';
const SHARD = 'shard=';
/** As many shards as a store may have (EbsMailStore). */
const SHARDS_MAX = 10;

/** For users who have no password: none has this verifier (assets/node/libexec/directory/users.awk has the same). */
const NO_PASSWORD =
  '{SCRAM-SHA-256}100000,bm8gcGFzc3dvcmQgaGFzIGl0,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=';

/** Settings of one user. */
export interface UserOptions {
  /**
   * Size of the mailbox in Dovecot's notation, such as `10G` or `500M`.
   * @default - the size that all users have
   */
  readonly quota?: string;

  /**
   * What the user may log in by: `imap`, `pop3`, `smtp`, `sieve`.
   * @default - all
   */
  readonly protocols?: string[];

  /**
   * Number of the shard that the mail is on, where mail is on shards (docs/storage.md). It is chosen when the user is added, and stays.
   * @default - follows from the address
   */
  readonly shard?: number;
}

/** All of a user. */
export interface UserEntry {
  readonly address: string;
  /** `{SCRAM-SHA-256}iterations,salt,storedKey,serverKey` */
  readonly verifier: string;
  /** As in `UserOptions`. */
  readonly quota?: string;
  /** As in `UserOptions`. */
  readonly protocols?: string[];
  /** As in `UserOptions`. */
  readonly shard?: number;
  readonly enabled: boolean;
  readonly secondFactor: boolean;
  /** Addresses whose mail goes to the user too, and that the user may send from. */
  readonly aliases: string[];
  /** Addresses whose mail goes to the user too. */
  readonly groups: string[];
  readonly appPasswords: AppPassword[];
}

/** What a directory elsewhere says of a user. What is undefined stays as it is. */
export interface ImportedUser {
  readonly address: string;
  /** @default - that of before; a new user has no password until one is set */
  readonly verifier?: string;
  readonly quota?: string;
  readonly protocols?: string[];
  readonly shard?: number;
  readonly enabled?: boolean;
  readonly secondFactor?: boolean;
  readonly aliases?: string[];
  readonly groups?: string[];
}

/** A domain that the directory knows by name. */
export interface DomainEntry {
  readonly name: string;
  /** Whether its users log in; mail is taken in any case. */
  readonly enabled: boolean;
  readonly secondFactor: boolean;
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
      if (file.find(address) !== index) {
        throw new Error(`users file, line ${index + 1}: ${address} is there twice`);
      }
    });
    return file;
  }

  /** Line of each user; made when it is asked for, after lines have moved. */
  private places?: Map<string, number>;

  private constructor(private readonly lines: string[]) {}

  /** Addresses in the order of the file. */
  public addresses(): string[] {
    return this.lines.filter(isUserLine).map(addressOf);
  }

  /** All users in the order of the file. */
  public users(): UserEntry[] {
    return this.lines.filter(isUserLine).map(entryOf);
  }

  /** One user. @throws when there is no such user */
  public user(address: string): UserEntry {
    return entryOf(this.lines[this.mustFind(checkAddress(address))]);
  }

  public has(address: string): boolean {
    return this.find(checkAddress(address)) >= 0;
  }

  /**
   * Adds a user.
   *
   * @throws when the address is bad or taken, or the password, quota or shard is bad
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
    this.mustBeFree(user);
    checkLength(password);
    if (options.shard !== undefined) checkShard(options.shard);
    this.append(user, scramVerifier(password));
    this.setShard(user, options.shard);
    this.change(user, options);
  }

  /**
   * Changes what is given of a user's settings; `quota: ''` is for the size that all users have, no protocols are all.
   *
   * @throws when there is no such user, a setting is bad, or the shard is another one: mail does not move
   */
  public change(address: string, { quota, protocols, shard }: UserOptions): void {
    const user = checkAddress(address);
    const before = this.user(user).shard;
    if (shard !== undefined && checkShard(shard) !== before) {
      throw new Error(
        `${user} has mail on ${before === undefined ? 'the shard that follows from the address' : `shard-${before}`}, and it does ` +
          `not move to shard-${shard}; a shard is chosen when a user is added`,
      );
    }
    if (quota !== undefined) {
      this.setField(user, QUOTA, quota === '' ? [] : [checkQuota(quota)]);
    }
    if (protocols !== undefined) {
      if (protocols.length > 0) checkProtocols(protocols);
      this.setField(user, PROTOCOLS, protocols.length === 0 ? [] : [[...new Set(protocols)].join('+')]);
    }
  }

  /**
   * Makes a user what a directory elsewhere says; a second time changes nothing.
   *
   * @returns whether anything changed
   * @throws on anything that `add` and its companions refuse; the file is as before then
   */
  public put(imported: ImportedUser): boolean {
    const user = checkAddress(imported.address);
    const before = this.find(user);
    const line = this.lines[before];
    if (imported.verifier !== undefined) checkVerifier(imported.verifier);
    if (before < 0) {
      if (this.erasure(user)) throw new Error(`mail of ${user} is being erased, or was; "mail-erase undo" ends that`);
      this.mustBeFree(user);
      this.append(user, imported.verifier ?? NO_PASSWORD);
      this.setShard(user, imported.shard);
    } else if (imported.verifier !== undefined) {
      this.setVerifier(before, imported.verifier);
    }
    try {
      this.change(user, imported);
      if (imported.enabled !== undefined) this.setEnabled(user, imported.enabled);
      if (imported.secondFactor !== undefined) this.requireSecondFactor(user, imported.secondFactor);
      if (imported.aliases) this.setNames(user, ALIASES, imported.aliases);
      if (imported.groups) this.setNames(user, GROUPS, imported.groups);
    } catch (error) {
      if (before < 0) this.remove(user);
      else this.lines[before] = line;
      throw error;
    }
    return this.lines[this.find(user)] !== line;
  }

  /**
   * Changes a password; other fields of the user stay.
   *
   * @throws when there is no such user, or the password is bad
   */
  public setPassword(address: string, password: string): void {
    const index = this.mustFind(checkAddress(address));
    checkLength(password);
    this.setVerifier(index, scramVerifier(password));
  }

  /**
   * Has mail to an alias go to the user too, who may send from it; several users may have it. It may be there already.
   *
   * @param alias an address, also with letters beyond ASCII before the @ (RFC 6531), or `@domain` for what nobody has there
   * @throws when there is no such user, or the alias is bad or a user's address
   */
  public addAlias(alias: string, address: string): void {
    this.addName(ALIASES, alias, address);
  }

  /** @throws when there is no such user; an alias that the user has not is none to remove */
  public removeAlias(alias: string, address: string): void {
    this.removeName(ALIASES, alias, address);
  }

  /**
   * Has mail to a group go to the user too, who may not send from it.
   *
   * @throws when there is no such user, or the group is bad or a user's address
   */
  public addMember(group: string, address: string): void {
    this.addName(GROUPS, group, address);
  }

  /** @throws when there is no such user */
  public removeMember(group: string, address: string): void {
    this.removeName(GROUPS, group, address);
  }

  /** Domains that have a line. */
  public domains(): DomainEntry[] {
    return this.lines.filter((line) => line.startsWith('@')).map(domainOf);
  }

  /** Has the directory know a domain; it may know it already. @throws when the domain is bad */
  public addDomain(name: string): void {
    this.changeDomain(name, () => ({}));
  }

  /** Forgets a domain. @throws when it has users */
  public removeDomain(name: string): void {
    const domain = checkDomain(name);
    const left = this.addresses().filter((address) => address.endsWith(`@${domain}`));
    if (left.length > 0) {
      throw new Error(`${domain} has ${left.length} users, such as ${left[0]}; remove them first`);
    }
    this.dropLines((line) => line.startsWith(`@${domain}:`));
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

  /**
   * Whether a user, or all users of a domain, may log in at all; mail is taken in any case.
   *
   * @param whom an address, or a domain
   * @throws when there is no such user, or the domain is bad
   */
  public setEnabled(whom: string, enabled: boolean): void {
    if (!whom.includes('@')) {
      this.changeDomain(whom, () => ({ enabled }));
      return;
    }
    this.setFlag(this.mustFind(checkAddress(whom)), NO_LOGIN, !enabled);
  }

  /**
   * Whether the passwords of a user, or of all users of a domain, are good nowhere, so that it takes a token or an app
   * password.
   *
   * @param whom an address, or a domain
   * @throws when there is no such user, or the domain is bad
   */
  public requireSecondFactor(whom: string, required: boolean): void {
    if (!whom.includes('@')) {
      this.changeDomain(whom, () => ({ secondFactor: required }));
      return;
    }
    this.setFlag(this.mustFind(checkAddress(whom)), SECOND_FACTOR, required);
  }

  /**
   * Removes a user. Mail stays in the store.
   *
   * @throws when there is no such user
   */
  public remove(address: string): void {
    const index = this.mustFind(checkAddress(address));
    this.dropLines((_line, at) => at === index);
  }

  /** Addresses that mail comes in for, of users, their aliases and groups. */
  public allAddresses(): string[] {
    return this.users().flatMap(({ address, aliases, groups }) => [address, ...aliases, ...groups]);
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
    this.dropLines((line) => ERASED.exec(line)?.[1] === subjectOf(address));
  }

  /** The text of the file. */
  public toString(): string {
    return this.lines.map((line) => `${line}\n`).join('');
  }

  private append(user: string, verifier: string): void {
    // user:password:uid:gid:gecos:home:shell:extra fields
    this.lines.push(`${user}:${verifier}::::::`);
    this.places?.set(user, this.lines.length - 1);
  }

  private setVerifier(index: number, verifier: string): void {
    const [user, , ...rest] = this.lines[index].split(':');
    this.lines[index] = [user, verifier, ...rest].join(':');
  }

  private setShard(user: string, shard?: number): void {
    this.setField(user, SHARD, shard === undefined ? [] : [`${shard}`]);
  }

  private setFlag(index: number, flag: string, on: boolean): void {
    if (fieldsOf(this.lines[index]).includes(flag) === on) return;
    this.changeFields(index, (fields) => [...fields.filter((field) => field !== flag), ...(on ? [flag] : [])]);
  }

  /** Sets the one field that begins so, in its place if it is there; without values the user has none. */
  private setField(user: string, name: string, values: string[]): void {
    const field = values.length === 0 ? [] : [`${name}${values.join(',')}`];
    this.changeFields(this.mustFind(user), (fields) => {
      const at = fields.findIndex((other) => other.startsWith(name));
      const others = fields.filter((other) => !other.startsWith(name));
      return at < 0 ? [...others, ...field] : [...others.slice(0, at), ...field, ...others.slice(at)];
    });
  }

  private setNames(address: string, name: string, values: string[]): void {
    const user = checkAddress(address);
    const check = name === ALIASES ? checkAlias : checkAddress;
    const checked = [...new Set(values.map(check))].filter((value) => value !== user).sort();
    for (const value of checked) {
      if (this.find(value) >= 0) {
        throw new Error(`${value} is a user; mail to it goes to the mailbox, choose another address`);
      }
    }
    this.setField(user, name, checked);
  }

  private addName(field: string, value: string, address: string): void {
    this.setNames(address, field, [...namesOf(this.lines[this.mustFind(checkAddress(address))], field), value]);
  }

  private removeName(field: string, value: string, address: string): void {
    const name = field === ALIASES ? checkAlias(value) : checkAddress(value);
    const names = namesOf(this.lines[this.mustFind(checkAddress(address))], field);
    this.setNames(
      address,
      field,
      names.filter((other) => other !== name),
    );
  }

  /** @throws when the address is an alias or a group */
  private mustBeFree(address: string): void {
    const isNamed = (line: string) => [ALIASES, GROUPS].some((field) => namesOf(line, field).includes(address));
    const owner = this.lines.find((line) => isUserLine(line) && line.includes(address) && isNamed(line));
    if (owner !== undefined) {
      throw new Error(`${address} is an alias or a group of ${addressOf(owner)}; remove it there first`);
    }
  }

  private changeDomain(name: string, change: () => Partial<DomainEntry>): void {
    const domain = checkDomain(name);
    const index = this.lines.findIndex((line) => line.startsWith(`@${domain}:`));
    const before = index < 0 ? { name: domain, enabled: true, secondFactor: false } : domainOf(this.lines[index]);
    const line = renderDomain({ ...before, ...change() });
    if (index >= 0) this.lines[index] = line;
    else this.lines.push(line);
  }

  private dropLines(isDropped: (line: string, index: number) => boolean): void {
    const kept = this.lines.filter((line, index) => !isDropped(line, index));
    this.lines.splice(0, this.lines.length, ...kept);
    this.places = undefined;
  }

  private changeFields(index: number, change: (fields: string[]) => string[]): void {
    const line = this.lines[index];
    this.lines[index] = line.slice(0, line.lastIndexOf(':') + 1) + change(fieldsOf(line)).join(' ');
  }

  private find(user: string): number {
    if (!this.places) {
      this.places = new Map();
      for (const [index, line] of this.lines.entries()) {
        if (isUserLine(line) && !this.places.has(addressOf(line))) this.places.set(addressOf(line), index);
      }
    }
    return this.places.get(user) ?? -1;
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
 * @throws on anything but letters, digits, `.`, `_` and `-`, a letter or digit first, at a domain of at least two labels
 */
export function checkAddress(address: string): string {
  const lower = address.toLowerCase();
  const [local, domain, ...more] = lower.split('@');
  const localIsGood = /^[a-z0-9][a-z0-9_-]*(\.[a-z0-9_-]+)*$/.test(local) && local.length <= 64;
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

function checkShard(shard: number): number {
  if (!Number.isInteger(shard) || shard < 1 || shard > SHARDS_MAX) {
    throw new Error(`shard must be a number from 1 to ${SHARDS_MAX}, got ${shard}`);
  }
  return shard;
}

/** A domain in lower case. @throws on anything but a domain of at least two labels */
export function checkDomain(domain: string): string {
  return checkAddress(`user@${domain}`).slice('user@'.length);
}

function checkVerifier(verifier: string): void {
  const [, rounds] =
    /^\{SCRAM-SHA-256\}(\d+),[A-Za-z0-9+/]+=*,[A-Za-z0-9+/]{43}=,[A-Za-z0-9+/]{43}=$/.exec(verifier) ?? [];
  if (rounds === undefined || Number(rounds) < 100_000) {
    throw new Error(
      'verifier must be {SCRAM-SHA-256}iterations,salt,storedKey,serverKey with 100000 iterations or more',
    );
  }
}

function entryOf(line: string): UserEntry {
  const fields = fieldsOf(line);
  const value = (name: string) => fields.find((field) => field.startsWith(name))?.slice(name.length);
  return {
    address: addressOf(line),
    verifier: line.split(':', 2)[1],
    quota: value(QUOTA),
    protocols: value(PROTOCOLS)?.split('+'),
    shard: value(SHARD) === undefined ? undefined : Number(value(SHARD)),
    enabled: !fields.includes(NO_LOGIN),
    secondFactor: fields.includes(SECOND_FACTOR),
    aliases: namesOf(line, ALIASES),
    groups: namesOf(line, GROUPS),
    appPasswords: fields.map(parseAppPassword).filter((entry) => entry !== undefined),
  };
}

/** Addresses in the one field that begins so. */
function namesOf(line: string, name: string): string[] {
  const field = fieldsOf(line).find((other) => other.startsWith(name));
  return field === undefined ? [] : field.slice(name.length).toLowerCase().split(',');
}

function domainOf(line: string): DomainEntry {
  const fields = fieldsOf(line);
  return {
    name: addressOf(line).slice(1),
    enabled: !fields.includes(NO_LOGIN),
    secondFactor: fields.includes(SECOND_FACTOR),
  };
}

function renderDomain({ name, enabled, secondFactor }: DomainEntry): string {
  return `@${name}:::::::${[...(enabled ? [] : [NO_LOGIN]), ...(secondFactor ? [SECOND_FACTOR] : [])].join(' ')}`;
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
