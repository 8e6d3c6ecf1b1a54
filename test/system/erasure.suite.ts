import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFileSync, rmSync } from 'node:fs';
import * as path from 'node:path';
import { CreateKeyCommand, KMSClient } from '@aws-sdk/client-kms';
import { ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import { buildSync } from 'esbuild';
import { createTransport } from 'nodemailer';
import { subjectOf } from '../../bin/users/user-file';
import { imapClient, submissionClient, type LocalUser } from '../../local/mail-clients';
import { waitFor } from '../../local/run';
import { readJournal } from '../support/journal';
import type { System } from './system';

const PASSWORD = 'erasure-local-password';
const SENDER = 'someone@example.net';

/** A person's mail is erased from store, queue and journal, and stays so (G2). */
export function erasureSuite(system: () => System): void {
  let command: string;
  let keyId: string;

  beforeAll(async () => {
    const { cluster } = system();
    command = path.join(cluster.folder, 'mail-erase.js');
    const entryPoints = [path.join(__dirname, '..', '..', 'bin', 'mail-erase.ts')];
    buildSync({ entryPoints, outfile: command, bundle: true, platform: 'node', target: 'node20' });
    const kms = new KMSClient(cluster.aws.client);
    const key = await kms.send(new CreateKeyCommand({ KeySpec: 'ECC_NIST_P256', KeyUsage: 'SIGN_VERIFY' }));
    keyId = key.KeyMetadata!.KeyId!;
    kms.destroy();
  });
  afterAll(() => rmSync(command, { force: true }));

  const bucket = () => system().cluster.plan.environment.MAIL_JOURNAL_BUCKET;
  const onNodes = (script: string) => Promise.all(system().cluster.nodes.map((node) => node.shell(script)));
  const sync = () => onNodes('systemctl start mail-directory-sync.service && systemctl start mail-erase.service');

  const erase = (name: string, user: LocalUser, ...more: string[]) => {
    const { cluster } = system();
    const directory = ['--directory', cluster.plan.environment.MAIL_DIRECTORY_OBJECT];
    const env = { ...process.env, ...cluster.aws.environment };
    return new Promise<{ status: number | null; report: { [name: string]: unknown }; stderr: string }>((resolve) => {
      const child = execFile(
        process.execPath,
        [command, name, user.address, ...directory, ...more],
        { env },
        (_error, stdout, stderr) =>
          resolve({ status: child.exitCode, report: JSON.parse(stdout.trim().split('\n').at(-1) || '{}'), stderr }),
      );
    });
  };

  const add = async (user: LocalUser) => {
    await system()
      .cluster.userDirectory()
      .update((file) => file.add(user.address, user.password));
    await sync();
  };

  const subjects = async (user: LocalUser): Promise<string[]> => {
    const client = imapClient(system().view, user);
    await client.connect();
    try {
      if ((await client.mailboxOpen('INBOX')).exists === 0) return [];
      const found: string[] = [];
      for await (const { envelope } of client.fetch('1:*', { envelope: true })) found.push(envelope!.subject!);
      return found.sort();
    } finally {
      await client.logout().catch(() => client.close());
    }
  };

  const send = async (names: string[], to: string[]) => {
    const { view } = system();
    const client = createTransport({
      ...{ host: view.address, port: 25, tls: { ca: view.authority, servername: view.hostname } },
    });
    for (const name of names) {
      await client.sendMail({
        envelope: { from: SENDER, to },
        raw: `From: <${SENDER}>\r\nSubject: ${name}\r\n\r\nhello\r\n.\r\n`,
      });
    }
    client.close();
  };

  const journaled = async (): Promise<string[]> => {
    const s3 = new S3Client(system().cluster.aws.client);
    const texts = (await readJournal(s3, bucket())).map(({ text }) => /Subject: (.*)\r/.exec(text)?.[1] ?? '');
    s3.destroy();
    return texts;
  };

  /** The user's folder below the store's `mail` or `erased`, as nodes see it. */
  const isIn = async (top: string, { address }: LocalUser): Promise<boolean> => {
    const [name, domain] = address.split('@');
    const folder = `/srv/mail-store/${top}/${domain}/${name}`;
    return (await system().cluster.nodes[0].shell(`[[ -e ${folder} ]] && echo yes || echo no`)) === 'yes\n';
  };

  /** Names of what nodes stored of the user. */
  const reports = async ({ address }: LocalUser): Promise<string[]> => {
    const s3 = new S3Client(system().cluster.aws.client);
    const Prefix = `erasure/${subjectOf(address)}/`;
    const { Contents = [] } = await s3.send(new ListObjectsV2Command({ Bucket: bucket(), Prefix }));
    s3.destroy();
    return Contents.map(({ Key }) => Key!);
  };

  const queued = async (address: string) =>
    (await onNodes('postqueue -j'))
      .join('')
      .split('\n')
      .filter((line) => line.includes(address)).length;

  test('aside at once, back when undone, gone when its time has come, and again after a restored backup', async () => {
    const { cluster, view, alice } = system();
    const user = { address: `leaver@${cluster.domains[0]}`, password: PASSWORD };
    await add(user);
    const [first, second, shared] = [randomUUID(), randomUUID(), randomUUID()];
    await send([first, second], [user.address]);
    await send([shared], [user.address, alice.address]);
    await waitFor('it in the mailbox', 30_000, async () => ((await subjects(user)).length === 3 ? true : undefined));
    // Waits in the queue: nobody answers there.
    const submission = submissionClient(view, user);
    const envelope = { from: user.address, to: 'nobody@[10.0.0.250]' };
    await submission.sendMail({ envelope, from: user.address, subject: randomUUID(), text: 'hello' });
    submission.close();
    expect(await queued(user.address)).toBe(1);
    await waitFor('all in the journal', 60_000, async () => {
      const all = await journaled();
      return [first, second, shared].every((one) => all.includes(one)) ? true : undefined;
    });

    expect(await erase('begin', user)).toMatchObject({ status: 0, report: { state: 'aside' } });
    await sync();
    await expect(subjects(user)).rejects.toThrow();
    expect([await isIn('mail', user), await isIn('erased', user)]).toEqual([false, true]);
    await expect(send([randomUUID()], [user.address])).rejects.toThrow(/550/);

    expect(await erase('undo', user)).toMatchObject({ status: 0 });
    await add(user);
    expect(await subjects(user)).toEqual([first, second, shared].sort());
    expect(await isIn('erased', user)).toBe(false);
    const [name, domain] = user.address.split('@');
    await onNodes(`rm -rf /var/tmp/backup; cp -a /srv/mail-store/mail/${domain}/${name} /var/tmp/backup`);

    expect(await erase('hold', user)).toMatchObject({ report: { state: 'held' } });
    await sync();
    expect([await isIn('mail', user), await isIn('erased', user)]).toEqual([false, true]);
    expect(await erase('begin', user, '--hours', '0')).toMatchObject({ report: { state: 'due' } });
    await sync();
    expect([await isIn('mail', user), await isIn('erased', user)]).toEqual([false, false]);
    expect(await queued(user.address)).toBe(0);

    for (const text of await onNodes(`/opt/mail-platform/libexec/erase --report ${subjectOf(user.address)}`)) {
      expect(JSON.parse(text)).toMatchObject({ clean: true, mailbox: false, aside: false, queued: 0 });
    }
    // A node may have looked before the user's home deleted the mailbox; it tells by itself when that is news.
    await sync();
    const told = await reports(user);
    await sync();
    expect(await reports(user)).toEqual(told);
    const proof = path.join(cluster.folder, 'proof');
    const how = ['--journal', `s3://${bucket()}`, '--sign', keyId, '--proof', proof];
    const done = await erase('finish', user, ...how);
    expect(done).toMatchObject({ status: 0, stderr: '', report: { shared: 1, complete: true } });
    const { nodes } = JSON.parse(readFileSync(proof, 'utf8').split('\n')[0]);
    expect(nodes).toHaveLength(cluster.nodes.length);
    expect(done.report.deleted).toBeGreaterThanOrEqual(2);
    const after = await journaled();
    expect([first, second, shared].map((one) => after.includes(one))).toEqual([false, false, true]);
    expect(await subjects(alice)).toContain(shared);

    // A copy of a backup from before: nobody looks into the mailbox, whatever else is checked.
    const copy = '/var/tmp/copy/mail';
    const checked = await cluster.nodes[0].shell(
      `rm -rf /var/tmp/copy; mkdir -p ${copy}/${domain}; cp -a /var/tmp/backup ${copy}/${domain}/${name}; ` +
        '/opt/mail-platform/libexec/check-store /var/tmp/copy 2>&1 || true',
    );
    expect(checked).toContain('the store has no mailboxes');

    // The backup is restored over the store: the mark is still there.
    await cluster.nodes[0].shell(`cp -a /var/tmp/backup /srv/mail-store/mail/${domain}/${name}`);
    expect(await isIn('mail', user)).toBe(true);
    await sync();
    expect([await isIn('mail', user), await isIn('erased', user)]).toEqual([false, false]);
  }, 240_000);

  test('killed in the middle: the next run goes on', async () => {
    const { cluster } = system();
    const user = { address: `cutoff@${cluster.domains[0]}`, password: PASSWORD };
    await add(user);
    await send([randomUUID()], [user.address]);
    await waitFor('it in the mailbox', 30_000, async () => ((await subjects(user)).length === 1 ? true : undefined));
    await erase('begin', user, '--hours', '0');
    // As a run leaves it that ends between the two steps, and one that ends within the second.
    const [name, domain] = user.address.split('@');
    const [from, to] = [`/srv/mail-store/mail/${domain}/${name}`, `/srv/mail-store/erased/${domain}/${name}`];
    await cluster.nodes[0].shell(`mkdir -p ${to} && mv ${from} ${to}/0 && rm -rf ${to}/0/mail/cur`);
    await sync();
    expect([await isIn('mail', user), await isIn('erased', user)]).toEqual([false, false]);
  }, 120_000);
}
