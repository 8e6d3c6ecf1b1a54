#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { openDirectory } from './users/directory';
import { type ImportKind, type ImportResult, IMPORTS, putAll, readImport } from './users/import';
import { readPassword } from './users/read-password';
import { SqlDirectory } from './users/sql-directory';
import { checkAddress, UserFile } from './users/user-file';

const USAGE = `usage: mail-users add --directory WHERE [--quota 10G] [--protocols imap,smtp] [--shard 2] address
       mail-users password|remove|disable|enable --directory WHERE address
       mail-users set --directory WHERE [--quota 10G|default] [--protocols imap,smtp|all] address
       mail-users list --directory WHERE
       mail-users alias add|remove --directory WHERE --user address alias
       mail-users alias list --directory WHERE
       mail-users group add|remove --directory WHERE --user address group
       mail-users group list --directory WHERE
       mail-users shard list --directory WHERE
       mail-users domain add|remove|disable|enable --directory WHERE domain
       mail-users domain list --directory WHERE
       mail-users app-password add --directory WHERE --name NAME --protocols imap,pop3,smtp,sieve address
       mail-users app-password list|revoke --directory WHERE [--name NAME] address
       mail-users second-factor required|optional --directory WHERE address|domain
       mail-users import csv|scim|ldap --directory WHERE file
       mail-users audit --directory WHERE [--limit 100] [address|domain]

WHERE is the stack's output UsersObject, s3://bucket/users or postgres://role@host:port/mail, or MAIL_DIRECTORY_OBJECT in the
environment; --tunnel PORT takes a port of this machine that leads to the database. A password is asked for, or read from the
first line of standard input; it is never an argument, which other processes could see. An app password is made up, printed
once and stored nowhere. A user who is disabled can't log in; mail is still taken. Where a second factor is required, the
password is good nowhere, app passwords and tokens are. Mail to an alias or a group goes to all users who have it; they may
send from aliases. Where mail is on shards, a user's follows from the
address unless one is chosen when the user is added. What is there already, and an import of what is there, changes nothing.`;

interface Command {
  /** What follows the options. @default - nothing */
  readonly takes?: 'address' | 'alias' | 'group' | 'domain' | 'address or domain' | 'file';
  /** Whether it may be left out. */
  readonly optional?: boolean;
  /** Options beside --directory and --tunnel. */
  readonly options?: readonly OptionName[];
  /** Those of them that may be left out. */
  readonly optionalOptions?: readonly OptionName[];
}

type OptionName = 'quota' | 'protocols' | 'shard' | 'name' | 'user' | 'limit';
const OPTION_NAMES: readonly OptionName[] = ['quota', 'protocols', 'shard', 'name', 'user', 'limit'];

const COMMANDS: { readonly [command: string]: Command } = {
  add: { takes: 'address', optionalOptions: ['quota', 'protocols', 'shard'] },
  password: { takes: 'address' },
  set: { takes: 'address', optionalOptions: ['quota', 'protocols'] },
  remove: { takes: 'address' },
  disable: { takes: 'address' },
  enable: { takes: 'address' },
  list: {},
  'alias add': { takes: 'alias', options: ['user'] },
  'alias remove': { takes: 'alias', options: ['user'] },
  'alias list': {},
  'group add': { takes: 'group', options: ['user'] },
  'group remove': { takes: 'group', options: ['user'] },
  'group list': {},
  'shard list': {},
  'domain add': { takes: 'domain' },
  'domain remove': { takes: 'domain' },
  'domain disable': { takes: 'domain' },
  'domain enable': { takes: 'domain' },
  'domain list': {},
  'app-password add': { takes: 'address', options: ['name', 'protocols'] },
  'app-password list': { takes: 'address' },
  'app-password revoke': { takes: 'address', options: ['name'] },
  'second-factor required': { takes: 'address or domain' },
  'second-factor optional': { takes: 'address or domain' },
  'import csv': { takes: 'file' },
  'import scim': { takes: 'file' },
  'import ldap': { takes: 'file' },
  audit: { takes: 'address or domain', optional: true, optionalOptions: ['limit'] },
};

const TWO_WORDS = new Set(
  Object.keys(COMMANDS)
    .filter((command) => command.includes(' '))
    .map((command) => command.split(' ')[0]),
);

type Values = { readonly [option in OptionName]?: string };

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      directory: { type: 'string' },
      tunnel: { type: 'string' },
      quota: { type: 'string' },
      protocols: { type: 'string' },
      shard: { type: 'string' },
      name: { type: 'string' },
      user: { type: 'string' },
      limit: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return;
  }
  const words = TWO_WORDS.has(positionals[0]) ? 2 : 1;
  const command = positionals.slice(0, words).join(' ');
  const whom = checkArguments(command, positionals.slice(words), values);
  const location = values.directory ?? process.env.MAIL_DIRECTORY_OBJECT;
  if (!location) {
    throw new Error(`--directory is missing\n${USAGE}`);
  }
  const directory = openDirectory(location, { tunnel: readTunnel(values.tunnel) });

  if (command === 'audit') {
    if (!(directory instanceof SqlDirectory)) {
      throw new Error('audit is kept by a database only; the versions of the object are the history of a users file');
    }
    for (const { at, operator, role, action, what, whom: about, before, after } of await directory.audit(
      readLimit(values.limit),
      whom || undefined,
    )) {
      console.log(JSON.stringify({ at, operator, role, action, what, whom: about, before, after }));
    }
    return;
  }
  const list = LISTS[command];
  if (list) {
    for (const line of list(await directory.read(), whom)) console.log(line);
    return;
  }
  if (command === 'app-password add') {
    let password = '';
    await directory.update((file) => {
      password = file.addAppPassword(whom, values.name!, values.protocols!.split(','));
    });
    console.log(password);
    return;
  }
  if (command.startsWith('import ')) {
    const kind = IMPORTS.find((known) => command === `import ${known}`) as ImportKind;
    const users = readImport(kind, readFileSync(whom, 'utf8'));
    let result: ImportResult | undefined;
    await directory.update((file) => (result = putAll(file, users)));
    console.log(`${command}: ${result!.changed} of ${result!.users} users changed; nodes follow within a minute`);
    return;
  }
  await directory.update(await change(command, whom, values));
  console.log(`${command}: ${whom.toLowerCase()} done; nodes follow within a minute`);
}

/** What commands print of a directory. */
const LISTS: { readonly [command: string]: (file: UserFile, whom: string) => string[] } = {
  list: (file) => file.addresses(),
  'alias list': (file) => file.users().flatMap(({ address, aliases }) => aliases.map((alias) => `${alias} ${address}`)),
  'group list': (file) => file.users().flatMap(({ address, groups }) => groups.map((group) => `${group} ${address}`)),
  'shard list': (file) =>
    file.users().flatMap(({ address, shard }) => (shard === undefined ? [] : [`${address} shard-${shard}`])),
  'domain list': (file) =>
    file
      .domains()
      .map(({ name, enabled, secondFactor }) =>
        [name, ...(enabled ? [] : ['disabled']), ...(secondFactor ? ['second-factor'] : [])].join(' '),
      ),
  'app-password list': (file, whom) =>
    file.appPasswords(whom).map(({ name, protocols }) => `${name} ${protocols.join(',')}`),
};

/** What a command does to the file; asks for the password if it takes one. */
async function change(command: string, whom: string, values: Values): Promise<(file: UserFile) => void> {
  const protocols = values.protocols === 'all' ? [] : values.protocols?.split(',');
  const shard = values.shard === undefined ? undefined : Number(values.shard.replace(/^shard-/, ''));
  switch (command) {
    case 'add':
    case 'password': {
      checkAddress(whom);
      const password = await readPassword(whom);
      return command === 'add'
        ? (file) => file.add(whom, password, { quota: values.quota, protocols, shard })
        : (file) => file.setPassword(whom, password);
    }
    case 'set':
      return (file) => file.change(whom, { quota: values.quota === 'default' ? '' : values.quota, protocols });
    case 'disable':
    case 'enable':
      checkAddress(whom);
      return (file) => file.setEnabled(whom, command === 'enable');
    case 'alias add':
      return (file) => file.addAlias(whom, values.user!);
    case 'alias remove':
      return (file) => file.removeAlias(whom, values.user!);
    case 'group add':
      return (file) => file.addMember(whom, values.user!);
    case 'group remove':
      return (file) => file.removeMember(whom, values.user!);
    case 'domain add':
      return (file) => file.addDomain(whom);
    case 'domain remove':
      return (file) => file.removeDomain(whom);
    case 'domain disable':
    case 'domain enable':
      if (whom.includes('@')) throw new Error(`${command} takes a domain, got ${whom}`);
      return (file) => file.setEnabled(whom, command === 'domain enable');
    case 'app-password revoke':
      return (file) => file.revokeAppPassword(whom, values.name!);
    case 'second-factor required':
    case 'second-factor optional':
      return (file) => file.requireSecondFactor(whom, command === 'second-factor required');
    default:
      return (file) => file.remove(whom);
  }
}

/** @returns what the command is about */
function checkArguments(command: string, [whom, ...more]: string[], values: Values): string {
  if (!(command in COMMANDS)) {
    const last = Object.keys(COMMANDS).at(-1);
    throw new Error(
      `command must be ${Object.keys(COMMANDS).slice(0, -1).join(', ')} or ${last}, got ${command || 'none'}\n${USAGE}`,
    );
  }
  const { takes, optional, options = [], optionalOptions = [] } = COMMANDS[command];
  if (more.length > 0 || (whom === undefined ? takes !== undefined && !optional : takes === undefined)) {
    throw new Error(`${command} takes ${takes ? `one ${takes}` : 'no address'}\n${USAGE}`);
  }
  for (const option of OPTION_NAMES) {
    if (values[option] !== undefined && ![...options, ...optionalOptions].includes(option)) {
      throw new Error(`--${option} goes with ${commandsWith(option).join(' and ')} only`);
    }
    if (values[option] === undefined && options.includes(option)) {
      throw new Error(`--${option} is missing\n${USAGE}`);
    }
  }
  return whom ?? '';
}

function commandsWith(option: OptionName): string[] {
  return Object.keys(COMMANDS).filter((command) =>
    [...(COMMANDS[command].options ?? []), ...(COMMANDS[command].optionalOptions ?? [])].includes(option),
  );
}

function readTunnel(text?: string): number | undefined {
  if (text !== undefined && !(/^\d{1,5}$/.test(text) && Number(text) >= 1 && Number(text) <= 65535)) {
    throw new Error(`--tunnel must be a port of this machine, got ${JSON.stringify(text)}`);
  }
  return text === undefined ? undefined : Number(text);
}

function readLimit(text = '100'): number {
  if (!/^[1-9]\d{0,5}$/.test(text)) {
    throw new Error(`--limit must be 1 to 999999 changes, got ${JSON.stringify(text)}`);
  }
  return Number(text);
}

main().catch((error: unknown) => {
  console.error(`mail-users: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
});
