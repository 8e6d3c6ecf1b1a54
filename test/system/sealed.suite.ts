import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFileSync, rmSync } from 'node:fs';
import * as path from 'node:path';
import { CreateKeyCommand, KMSClient } from '@aws-sdk/client-kms';
import { ListObjectVersionsCommand, S3Client } from '@aws-sdk/client-s3';
import { buildSync } from 'esbuild';
import { tagOf } from '../../bin/restore/journal-key';
import { imapClient, type LocalUser } from '../../local/mail-clients';
import { inbox, submit } from '../../local/round-trip';
import { sleep, waitFor } from '../../local/run';
import { type Journalled, readJournal } from '../support/journal';
import type { System } from './system';

const PASSWORD = 'sealed-local-password';
const DAYS_180 = 180 * 86_400_000;

/** Mail is journaled for keys of its owners, comes back by them, and is erased with them although a lock keeps it (G2, D3). */
export function sealedSuite(system: () => System): void {
  const commands: { [name: string]: string } = {};
  let signingKey: string;

  beforeAll(async () => {
    const { cluster } = system();
    for (const name of ['mail-erase', 'mail-restore']) {
      commands[name] = path.join(cluster.folder, `${name}.js`);
      const entryPoints = [path.join(__dirname, '..', '..', 'bin', `${name}.ts`)];
      buildSync({ entryPoints, outfile: commands[name], bundle: true, platform: 'node', target: 'node20' });
    }
    const kms = new KMSClient(cluster.aws.client);
    const key = await kms.send(new CreateKeyCommand({ KeySpec: 'ECC_NIST_P256', KeyUsage: 'SIGN_VERIFY' }));
    signingKey = key.KeyMetadata!.KeyId!;
    kms.destroy();
  });
  afterAll(() => Object.values(commands).forEach((command) => rmSync(command, { force: true })));

  const environment = () => system().cluster.plan.environment;
  const journalOption = () => ['--journal', `s3://${environment().MAIL_JOURNAL_BUCKET}`];
  const onNodes = (script: string) => Promise.all(system().cluster.nodes.map((node) => node.shell(script)));
  const sync = () => onNodes('systemctl start mail-directory-sync.service && systemctl start mail-erase.service');

  const run = (name: string, argv: string[], password = '') => {
    const { cluster } = system();
    const { certificateFile } = cluster.authority;
    const env = { ...process.env, ...cluster.aws.environment, NODE_EXTRA_CA_CERTS: certificateFile };
    return new Promise<{ status: number | null; report: { [name: string]: unknown }; stderr: string }>((resolve) => {
      const child = execFile(process.execPath, [commands[name], ...argv], { env }, (_error, stdout, stderr) =>
        resolve({ status: child.exitCode, report: JSON.parse(stdout.trim().split('\n').at(-1) || '{}'), stderr }),
      );
      child.stdin!.end(`${password}\n`);
    });
  };

  const erase = (command: string, { address }: LocalUser, ...more: string[]) =>
    run('mail-erase', [command, address, '--directory', environment().MAIL_DIRECTORY_OBJECT, ...more]);

  const restore = ({ address, password }: LocalUser, ...more: string[]) => {
    const { view } = system();
    const server = ['--imap', `imaps://${view.address}`, '--tls-name', view.hostname];
    const argv = [...journalOption(), ...server, '--user', address, '--folder', 'Restored', ...more];
    return run('mail-restore', argv, password);
  };

  const add = async (name: string): Promise<LocalUser> => {
    const { cluster } = system();
    const user = { address: `${name}@${cluster.domains[0]}`, password: PASSWORD };
    await cluster.userDirectory().update((file) => file.add(user.address, user.password));
    await sync();
    return user;
  };

  const journal = async (): Promise<Journalled[]> => {
    const s3 = new S3Client(system().cluster.aws.client);
    const objects = await readJournal(s3, environment().MAIL_JOURNAL_BUCKET);
    s3.destroy();
    return objects;
  };

  /** The message's only object, as soon as it is there; opened by the program age. */
  const journalled = (subject: string): Promise<Journalled> =>
    waitFor(`"${subject}" in the journal`, 30_000, async () => {
      const found = (await journal()).filter(({ text }) => text.includes(`Subject: ${subject}\r\n`));
      expect(found.length).toBeLessThan(2);
      return found[0];
    });

  const keys = async (...of: LocalUser[]) => {
    const s3 = new S3Client(system().cluster.aws.client);
    const { Versions = [] } = await s3.send(new ListObjectVersionsCommand({ Bucket: environment().MAIL_JOURNAL_KEYS }));
    s3.destroy();
    return Versions.filter(({ Key }) => of.some(({ address }) => Key!.includes(tagOf(address))));
  };

  const sources = async (user: LocalUser, folder: string): Promise<string[]> => {
    const client = imapClient(system().view, user);
    await client.connect();
    try {
      if ((await client.mailboxOpen(folder)).exists === 0) return [];
      const found: string[] = [];
      for await (const { source } of client.fetch('1:*', { source: true })) found.push(source!.toString());
      return found;
    } finally {
      await client.logout().catch(() => client.close());
    }
  };

  test('each message is locked, and sealed for those of ours who sent it or got it', async () => {
    const { view, alice, bob } = system();
    const [inside, outwards] = [randomUUID(), randomUUID()];
    await submit(view, alice, bob.address, inside);
    await submit(view, alice, 'x@[10.0.0.250]', outwards);
    const [first, second] = [await journalled(inside), await journalled(outwards)];
    expect(first.metadata.keys.split(',').sort()).toEqual([alice, bob].map(({ address }) => tagOf(address)).sort());
    expect(second.metadata.keys).toBe(tagOf(alice.address));
    for (const { packed } of [first, second]) {
      expect(packed.toString('latin1', 0, 21)).toBe('age-encryption.org/v1');
    }
    // A pair for each of the two, whichever of the nodes made it.
    expect(await keys(alice, bob)).toHaveLength(4);
    await onNodes('postsuper -d ALL >/dev/null 2>&1');
  });

  test('comes back byte for byte, is unreadable after its owner was erased, and is no less locked', async () => {
    const { view, cluster, alice } = system();
    const leaver = await add('leaver');
    const [alone, shared, sent] = [randomUUID(), randomUUID(), randomUUID()];
    await submit(view, leaver, leaver.address, alone);
    await submit(view, alice, leaver.address, shared);
    await submit(view, leaver, 'leaver+notes@example.com', sent);
    for (const subject of [alone, shared, sent]) await journalled(subject);
    await waitFor('them in the mailbox', 30_000, async () => {
      const there = await inbox(view, leaver);
      return [alone, shared, sent].every((subject) => there.includes(subject)) ? true : undefined;
    });
    const before = await sources(leaver, 'INBOX');
    const client = imapClient(view, leaver);
    await client.connect();
    await client.mailboxOpen('INBOX');
    await client.messageDelete('1:*');
    await client.logout();
    // The name with a detail is in the envelope only.
    const restored = await restore(leaver, '--envelopes');
    expect(restored).toMatchObject({ status: 0, report: { restored: 3, erased: 0, missing: 0 } });
    const after = await sources(leaver, 'Restored');
    // Delivery puts lines on top.
    expect(after.every((one) => before.some((delivered) => delivered.endsWith(one)))).toBe(true);

    expect(await erase('begin', leaver, '--hours', '0')).toMatchObject({ report: { state: 'due' } });
    await sync();
    // A node may have looked before the user's home deleted the mailbox.
    await sync();
    const proof = path.join(cluster.folder, 'sealed.proof');
    const how = [...journalOption(), '--sign', signingKey, '--proof', proof];
    const locked = await erase('finish', leaver, ...how);
    expect(locked).toMatchObject({ status: 1, report: { deleted: 0, locked: 2, shared: 1, complete: false } });
    const done = await erase('finish', leaver, ...how, '--keys', `s3://${environment().MAIL_JOURNAL_KEYS}`);
    expect(done).toMatchObject({
      ...{ status: 0, stderr: '' },
      report: { deleted: 0, locked: 0, unreadable: 2, shared: 1, complete: true },
    });
    // Two halves; more, if both nodes made a pair at once.
    expect(done.report.keysDestroyed).toBeGreaterThanOrEqual(2);
    const days = Date.parse(String(done.report.unreadableUntil)) - Date.now();
    expect(Math.abs(days - DAYS_180)).toBeLessThan(600_000);
    expect(readFileSync(proof, 'utf8')).not.toContain('leaver');
    expect(await keys(leaver)).toEqual([]);
    const texts = (await journal()).map(({ text }) => text);
    for (const [subject, there] of [
      [alone, false],
      [sent, false],
      [shared, true],
    ] as const) {
      expect([subject, texts.some((text) => text.includes(subject))]).toEqual([subject, there]);
    }
    expect(texts.filter((text) => text === '')).toHaveLength(2);

    const gone = await restore(leaver, '--envelopes', '--dry-run');
    expect(gone).toMatchObject({ status: 1, report: { restored: 0, erased: 2 } });
    // Who sent it still gets it back.
    const back = await restore(alice, '--sent', '--dry-run');
    expect(back).toMatchObject({ status: 0, report: { erased: 0, missing: 0 } });
    expect(back.report.found).toBeGreaterThanOrEqual(1);
  }, 240_000);

  test('the daemon killed at random while keys are made: each message is there once, and is opened', async () => {
    const { view, alice } = system();
    const users: LocalUser[] = [];
    for (const name of ['one', 'two', 'three', 'four']) users.push(await add(name));
    let stopped = false;
    const killer = (async () => {
      while (!stopped) {
        await sleep(300 + Math.random() * 700);
        await onNodes('systemctl kill --signal=KILL mail-journal.service || true');
      }
    })();
    const subjects: string[] = [];
    for (const user of [...users, ...users, ...users]) {
      const subject = randomUUID();
      await submit(view, alice, user.address, subject);
      subjects.push(subject);
      await sleep(200);
    }
    stopped = true;
    await killer;
    await waitFor('the copies to be gone', 120_000, async () =>
      (await onNodes('postqueue -j')).join('').includes('journal.invalid') ? undefined : true,
    );
    const texts = (await journal()).map(({ text }) => text);
    for (const subject of subjects) {
      expect([subject, texts.filter((text) => text.includes(subject)).length]).toEqual([subject, 1]);
    }
    const halves = (await keys(...users)).filter(({ Key }) => Key!.startsWith('public/'));
    expect(halves).toHaveLength(users.length);
  }, 240_000);
}
