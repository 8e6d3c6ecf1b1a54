#!/usr/bin/env node
import { parseArgs } from 'node:util';
import { readPassword } from './users/read-password';
import { UserDirectory } from './users/user-directory';
import { checkAddress, UserFile } from './users/user-file';

const USAGE = `usage: mail-users add|password|remove|disable|enable --directory s3://bucket/users [--quota 10G] address
       mail-users list --directory s3://bucket/users
       mail-users app-password add --directory s3://bucket/users --name NAME --protocols imap,pop3,smtp,sieve address
       mail-users app-password list|revoke --directory s3://bucket/users [--name NAME] address
       mail-users second-factor required|optional --directory s3://bucket/users address|domain

The directory is the stack's output UsersObject, or MAIL_DIRECTORY_OBJECT in the environment. A password is asked for,
or read from the first line of standard input; it is never an argument, which other processes could see. An app password
is made up, printed once and stored nowhere. A user who is disabled can't log in; mail is still taken. Where a second
factor is required, the password is good nowhere, app passwords and tokens are.`;

/** Options beside --directory that a command takes. */
const OPTIONS: { readonly [command: string]: readonly string[] } = {
  add: ['quota'],
  password: [],
  remove: [],
  disable: [],
  enable: [],
  list: [],
  'app-password add': ['name', 'protocols'],
  'app-password list': [],
  'app-password revoke': ['name'],
  'second-factor required': [],
  'second-factor optional': [],
};

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      directory: { type: 'string' },
      quota: { type: 'string' },
      name: { type: 'string' },
      protocols: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return;
  }
  const words = ['app-password', 'second-factor'].includes(positionals[0]) ? 2 : 1;
  const command = positionals.slice(0, words).join(' ');
  const [whom, ...more] = positionals.slice(words);
  if (!(command in OPTIONS)) {
    const last = Object.keys(OPTIONS).at(-1);
    throw new Error(
      `command must be ${Object.keys(OPTIONS).slice(0, -1).join(', ')} or ${last}, got ${command || 'none'}\n${USAGE}`,
    );
  }
  const takesAddress = command !== 'list';
  if (more.length > 0 || takesAddress !== (whom !== undefined)) {
    throw new Error(`${command} takes ${takesAddress ? 'one address' : 'no address'}\n${USAGE}`);
  }
  for (const option of ['quota', 'name', 'protocols'] as const) {
    if (values[option] !== undefined && !OPTIONS[command].includes(option)) {
      throw new Error(`--${option} goes with ${commandsWith(option).join(' and ')} only`);
    }
    if (values[option] === undefined && option !== 'quota' && OPTIONS[command].includes(option)) {
      throw new Error(`--${option} is missing\n${USAGE}`);
    }
  }
  const location = values.directory ?? process.env.MAIL_DIRECTORY_OBJECT;
  if (!location) {
    throw new Error(`--directory is missing\n${USAGE}`);
  }
  const directory = new UserDirectory(location);

  switch (command) {
    case 'list':
      for (const user of (await directory.read()).addresses()) {
        console.log(user);
      }
      return;
    case 'app-password list':
      for (const { name, protocols } of (await directory.read()).appPasswords(whom)) {
        console.log(`${name} ${protocols.join(',')}`);
      }
      return;
    case 'app-password add': {
      let password = '';
      await directory.update((file) => {
        password = file.addAppPassword(whom, values.name!, values.protocols!.split(','));
      });
      console.log(password);
      return;
    }
    case 'add': {
      checkAddress(whom);
      const password = await readPassword(whom);
      await directory.update((file) => file.add(whom, password, { quota: values.quota }));
      break;
    }
    case 'password': {
      checkAddress(whom);
      const password = await readPassword(whom);
      await directory.update((file) => file.setPassword(whom, password));
      break;
    }
    default:
      await directory.update(change(command, whom, values.name));
  }
  console.log(`${command}: ${whom.toLowerCase()} done; nodes follow within a minute`);
}

/** What a command that needs no password does to the file. */
function change(command: string, whom: string, name = ''): (file: UserFile) => void {
  switch (command) {
    case 'disable':
    case 'enable':
      return (file) => file.setEnabled(whom, command === 'enable');
    case 'app-password revoke':
      return (file) => file.revokeAppPassword(whom, name);
    case 'second-factor required':
    case 'second-factor optional':
      return (file) => file.requireSecondFactor(whom, command === 'second-factor required');
    default:
      return (file) => file.remove(whom);
  }
}

function commandsWith(option: string): string[] {
  return Object.keys(OPTIONS).filter((command) => OPTIONS[command].includes(option));
}

main().catch((error: unknown) => {
  console.error(`mail-users: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
});
