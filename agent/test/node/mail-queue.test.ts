import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MailQueue } from '../../src/node/mail-queue';
import { temporaryFolder } from '../support/temporary-folder';

/** A command that stands in for postqueue. */
const postqueue = (script: string): { command: string; folder: string } => {
  const folder = temporaryFolder();
  const command = join(folder, 'postqueue');
  writeFileSync(command, `#!/bin/sh\ncd ${folder}\n${script}\n`);
  chmodSync(command, 0o755);
  return { command, folder };
};

// As Postfix 3.10 writes it.
const REPORT = [
  '{"queue_name": "active", "queue_id": "4Zb1", "arrival_time": 1795000300, "message_size": 3121, "forced_expire": false, "sender": "a@example.com", "recipients": [{"address": "b@example.net"}]}',
  '{"queue_name": "deferred", "queue_id": "4Zb2", "arrival_time": 1795000100, "message_size": 99, "forced_expire": false, "sender": "", "recipients": [{"address": "c@example.net", "delay_reason": "connect to mx.example.net[192.0.2.1]:25: Connection refused"}]}',
];

test('counts messages and finds the oldest', async () => {
  const { command } = postqueue(`cat <<'END'\n${REPORT.join('\n')}\nEND`);
  expect(await new MailQueue(command).state()).toEqual({ length: 2, oldestArrival: 1795000100 });
});

test('takes no output for an empty queue', async () => {
  expect(await new MailQueue(postqueue('exit 0').command).state()).toEqual({ length: 0, oldestArrival: undefined });
});

test('fails when Postfix does not run', async () => {
  const { command } = postqueue('echo "postqueue: fatal: Queue report unavailable - mail system is down" >&2; exit 69');
  await expect(new MailQueue(command).state()).rejects.toThrow(/ended with 69: .*mail system is down/);
});

test('fails when the command is missing or writes something else', async () => {
  await expect(new MailQueue('/nowhere/postqueue').state()).rejects.toThrow('ENOENT');
  await expect(new MailQueue(postqueue('echo Mail queue is empty').command).state()).rejects.toThrow('not valid JSON');
});

test('flushes', async () => {
  const { command, folder } = postqueue('echo "$@" > arguments');
  await new MailQueue(command).flush();
  expect(existsSync(join(folder, 'arguments')) && readFileSync(join(folder, 'arguments'), 'utf8')).toBe('-f\n');
});
