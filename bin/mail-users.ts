#!/usr/bin/env node
import { parseArgs } from 'node:util';
import { readPassword } from './users/read-password';
import { UserDirectory } from './users/user-directory';
import { checkAddress } from './users/user-file';

const USAGE = `usage: mail-users add|password|remove --directory s3://bucket/users [--quota 10G] address
       mail-users list --directory s3://bucket/users

The directory is the stack's output UsersObject, or MAIL_DIRECTORY_OBJECT in the environment. A password is asked for,
or read from the first line of standard input; it is never an argument, which other processes could see.`;

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { directory: { type: 'string' }, quota: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
  });
  const [command, address, ...more] = positionals;
  if (values.help) {
    console.log(USAGE);
    return;
  }
  const takesAddress = ['add', 'password', 'remove'].includes(command);
  if (!takesAddress && command !== 'list') {
    throw new Error(`command must be add, password, remove or list, got ${command ?? 'none'}\n${USAGE}`);
  }
  if (more.length > 0 || takesAddress !== (address !== undefined)) {
    throw new Error(`${command} takes ${takesAddress ? 'one address' : 'no address'}\n${USAGE}`);
  }
  if (values.quota !== undefined && command !== 'add') {
    throw new Error(`--quota goes with add only`);
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
    case 'add': {
      checkAddress(address);
      const password = await readPassword(address);
      await directory.update((file) => file.add(address, password, { quota: values.quota }));
      break;
    }
    case 'password': {
      checkAddress(address);
      const password = await readPassword(address);
      await directory.update((file) => file.setPassword(address, password));
      break;
    }
    default:
      await directory.update((file) => file.remove(address));
  }
  console.log(`${command}: ${address.toLowerCase()} done; nodes follow within a minute`);
}

main().catch((error: unknown) => {
  console.error(`mail-users: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
});
