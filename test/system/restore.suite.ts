import { execFile } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';
import * as path from 'node:path';
import { CopyObjectCommand, DeleteObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { buildSync } from 'esbuild';
import { createTransport } from 'nodemailer';
import { imapClient, submissionClient, type LocalUser } from '../../local/mail-clients';
import { waitFor } from '../../local/run';
import { type Journalled, readJournal } from '../support/journal';
import type { System } from './system';

const FOLDER = 'Restored/test';
const SENDER = 'someone@example.net';
const PASSWORD = 'restore-local-password';

/** What a run of the command came to. */
interface Ran {
  readonly status: number | null;
  readonly report: { readonly [count: string]: number };
  readonly stderr: string;
}

/** A message in a mailbox. */
interface Kept {
  readonly subject: string;
  readonly source: Buffer;
  readonly date: Date;
}

/** Mail comes back from the journal into mailboxes by IMAP (D4, D5). */
export function restoreSuite(system: () => System): void {
  let command: string;

  beforeAll(() => {
    // As the package ships it: one file.
    command = path.join(system().cluster.folder, 'mail-restore.js');
    const entryPoints = [path.join(__dirname, '..', '..', 'bin', 'mail-restore.ts')];
    buildSync({ entryPoints, outfile: command, bundle: true, platform: 'node', target: 'node20' });
  });
  afterAll(() => rmSync(command, { force: true }));

  const s3 = () => new S3Client(system().cluster.aws.client);
  const bucket = () => system().cluster.plan.environment.MAIL_JOURNAL_BUCKET;

  /** Runs the command; `watch` may end it before. */
  const restore = (args: string[], watch?: (end: () => void) => Promise<void>): Promise<Ran> => {
    const { cluster, view } = system();
    const server = ['--journal', `s3://${bucket()}`, '--imap', `imaps://${view.address}`, '--tls-name', view.hostname];
    return new Promise((resolve) => {
      const child = execFile(
        process.execPath,
        [command, ...server, ...args],
        {
          env: {
            ...process.env,
            ...cluster.aws.environment,
            NODE_EXTRA_CA_CERTS: cluster.authority.certificateFile,
          },
        },
        (_error, stdout, stderr) => {
          const last = stdout.trim().split('\n').at(-1) || '{}';
          resolve({ status: child.exitCode, report: JSON.parse(last), stderr });
        },
      );
      child.stdin!.end(`${PASSWORD}\n`);
      void watch?.(() => child.kill('SIGKILL'));
    });
  };

  const newUser = async (name: string): Promise<LocalUser> => {
    const { cluster } = system();
    const user = { address: `${name}@${cluster.domains[0]}`, password: PASSWORD };
    await cluster.userDirectory().update((file) => file.add(user.address, user.password));
    await Promise.all(cluster.nodes.map((node) => node.shell('systemctl start mail-directory-sync.service')));
    return user;
  };

  /** Sends each message, as written here, to these addresses. Resolves when all are journaled. */
  const send = async (messages: string[], ...to: string[]): Promise<Journalled[]> => {
    const { view } = system();
    const before = (await readJournal(s3(), bucket())).length;
    // As another server does, on a few connections.
    const tls = { ca: view.authority, servername: view.hostname };
    const client = createTransport({
      host: view.address,
      port: 25,
      tls,
      pool: true,
      maxConnections: 2,
      maxMessages: 1e6,
    });
    await Promise.all(messages.map((raw) => client.sendMail({ envelope: { from: SENDER, to }, raw })));
    client.close();
    return waitFor('them in the journal', 60_000, async () => {
      const objects = await readJournal(s3(), bucket());
      return objects.length >= before + messages.length ? objects.slice(before) : undefined;
    });
  };

  const message = (subject: string, id?: string): string =>
    `From: <${SENDER}>\r\nSubject: ${subject}\r\n${id ? `Message-ID: ${id}\r\n` : ''}\r\nhello\r\n.\r\n`;

  const kept = async (user: LocalUser, folder: string): Promise<Kept[]> => {
    const client = imapClient(system().view, user);
    await client.connect();
    try {
      if (!(await client.list()).some((one) => one.path === folder)) return [];
      if ((await client.mailboxOpen(folder, { readOnly: true })).exists === 0) return [];
      const found: Kept[] = [];
      for await (const { source, internalDate, envelope } of client.fetch('1:*', {
        ...{ source: true, internalDate: true, envelope: true },
      })) {
        found.push({ subject: envelope?.subject ?? '', source: source!, date: new Date(internalDate!) });
      }
      return found;
    } finally {
      await client.logout().catch(() => client.close());
    }
  };

  const arrived = (user: LocalUser, count: number) =>
    waitFor(`${count} messages in the INBOX`, 60_000, async () =>
      (await kept(user, 'INBOX')).length === count ? true : undefined,
    );

  /** Moves messages of the INBOX, or deletes them for ever. */
  const take = async (user: LocalUser, subjects: 'all' | string[], to?: string) => {
    const client = imapClient(system().view, user);
    await client.connect();
    await client.mailboxOpen('INBOX');
    for (const search of subjects === 'all' ? [{ all: true }] : subjects.map((subject) => ({ subject }))) {
      if (to) await client.messageMove(search, to);
      else await client.messageDelete(search);
    }
    await client.logout();
  };

  const subjectsOf = (messages: Kept[]) => messages.map(({ subject }) => subject).sort();

  test('killed in the middle and run again: all of it is there once, as it was accepted, with its time', async () => {
    const user = await newUser('restored');
    const subjects = Array.from({ length: 150 }, () => randomUUID()).sort();
    const [archived, trashed, ...deleted] = subjects;
    // Two of one Message-ID, which yet are two messages.
    const ids = (index: number) =>
      index === 5 || index === 6 ? '<same@example.org>' : `<${subjects[index]}@example.org>`;
    const journalled = await send(
      subjects.map((subject, index) => message(subject, ids(index))),
      user.address,
    );
    await arrived(user, subjects.length);
    await take(user, [archived], 'Archive');
    await take(user, [trashed], 'Trash');
    await take(user, 'all');
    expect(await kept(user, 'INBOX')).toEqual([]);

    const args = ['--user', user.address, '--folder', FOLDER, '--concurrency', '4', '--connections', '2'];
    const dry = await restore([...args, '--dry-run']);
    expect(dry.report).toMatchObject({ found: 150, restored: 149, duplicates: 1, missing: 0, dryRun: true });
    expect(await kept(user, FOLDER)).toEqual([]);

    const first = await restore(args, async (end) => {
      await waitFor('some of it', 60_000, async () => ((await kept(user, FOLDER)).length > 5 ? true : undefined), 20);
      end();
    });
    const before = (await kept(user, FOLDER)).length;
    expect(first.status).toBeNull();
    expect(before).toBeGreaterThan(5);
    expect(before).toBeLessThan(149);

    const second = await restore(args);
    expect(second.stderr).toBe('');
    expect(second.status).toBe(0);
    expect(second.report).toMatchObject({ found: 150, restored: 149 - before, duplicates: before + 1, missing: 0 });
    const there = await kept(user, FOLDER);
    expect(subjectsOf(there)).toEqual([trashed, ...deleted].sort());
    const texts = new Map(journalled.map((object) => [/Subject: (.*)\r/.exec(object.text)![1], object]));
    for (const { subject, source, date } of there) {
      const { text } = texts.get(subject)!;
      expect(source.toString()).toBe(text.replace(/^(X-Journal-.*\r\n)+/, ''));
      expect(date.toISOString().replace('.000', '')).toBe(/X-Journal-Arrival: (.*)\r/.exec(text)![1]);
    }

    const third = await restore(args);
    expect(third).toMatchObject({ status: 0, report: { found: 150, restored: 0, duplicates: 150, missing: 0 } });
    // Wherever its user has put it meanwhile.
    const elsewhere = await restore(['--user', user.address, '--folder', 'INBOX']);
    expect(elsewhere.report).toMatchObject({ restored: 0, duplicates: 150 });
    console.log(`restored ${second.report.restored}, ${second.report.perSecond}/s`);
  }, 300_000);

  test('sessions that are ended meanwhile cost nothing, and put nothing in twice', async () => {
    const user = await newUser('interrupted');
    const subjects = Array.from({ length: 100 }, () => randomUUID()).sort();
    await send(
      subjects.map((subject) => message(subject)),
      user.address,
    );
    await arrived(user, subjects.length);
    await take(user, 'all');
    let kicked = 0;
    // Few at once, for it is over too soon otherwise.
    const slowly = ['--connections', '2', '--concurrency', '2'];
    const ran = await restore(['--user', user.address, '--folder', FOLDER, ...slowly], async () => {
      const kick = `doveadm kick ${user.address} | tail -n 1`;
      for (const least of [5, 30]) {
        await waitFor('some of it', 60_000, async () => ((await kept(user, FOLDER)).length > least ? true : undefined));
        await Promise.all(system().cluster.nodes.map((node) => node.shell(kick)));
        if ((await kept(user, FOLDER)).length < subjects.length) kicked++;
      }
    });
    expect(kicked).toBeGreaterThan(0);
    expect(subjectsOf(await kept(user, FOLDER))).toEqual(subjects);
    expect(ran).toMatchObject({ status: 0, report: { found: 100, missing: 0, failed: 0 } });
  }, 180_000);

  test('what is not whole is told and not restored, the rest is', async () => {
    const user = await newUser('damaged');
    const subjects = ['changed', 'cut', 'whole'].map((name) => `${name} ${randomUUID()}`);
    const journalled = await send(
      subjects.map((subject) => message(subject)),
      user.address,
    );
    await arrived(user, 3);
    await take(user, 'all');
    const [changed, cut, whole] = subjects.map((subject) => journalled.find(({ text }) => text.includes(subject))!);
    // As somebody may do who has the rights to: what is there is new, whole for S3, and under the same name.
    const replace = async ({ key, metadata }: Journalled, Body: Buffer) => {
      const object = { Bucket: bucket(), Key: key, Body, Metadata: metadata, ChecksumAlgorithm: 'SHA256' } as const;
      const { VersionId } = await s3().send(new PutObjectCommand(object));
      return { Key: key, VersionId };
    };
    const damaged = [
      await replace(changed, whole.packed),
      await replace(cut, cut.packed.subarray(0, cut.packed.length - 10)),
    ];
    try {
      const { status, report, stderr } = await restore(['--user', user.address, '--folder', FOLDER]);
      expect(status).toBe(1);
      expect(report).toMatchObject({ found: 3, restored: 1, broken: 2, missing: 2 });
      expect(stderr).toContain(`broken: ${changed.key}: the SHA-256 of its content begins with`);
      expect(stderr).toContain(`broken: ${cut.key}: it can't be unpacked`);
      expect(subjectsOf(await kept(user, FOLDER))).toEqual([subjects[2]]);
    } finally {
      // Others read the journal, too.
      for (const version of damaged) await s3().send(new DeleteObjectCommand({ Bucket: bucket(), ...version }));
    }
  }, 120_000);

  test('a message of the mailbox that can not be read is told, and restored beside it', async () => {
    const user = await newUser('unreadable');
    // None the smaller on the store.
    const body = randomBytes(30_000).toString('base64').replace(/.{76}/g, '$&\r\n');
    await send(
      [randomUUID(), randomUUID()].map((subject) => message(subject).replace('hello', body)),
      user.address,
    );
    await arrived(user, 2);
    const [name, domain] = user.address.split('@');
    const folder = `/srv/mail-store/mail/${domain}/${name}/mail`;
    const [node] = system().cluster.nodes;
    const file = (await node.shell(`find ${folder}/cur ${folder}/new -type f | sort | tail -n 1`)).trim();
    await node.shell(`truncate --size=40 '${file}'`);
    try {
      const { status, report, stderr } = await restore(['--user', user.address, '--folder', FOLDER]);
      expect(stderr).toMatch(new RegExp(`unreadable: ${user.address}, INBOX, UID \\d+: `));
      expect(report).toMatchObject({ found: 2, restored: 1, duplicates: 1, missing: 0 });
      expect(status).toBe(0);
      expect(await kept(user, FOLDER)).toHaveLength(1);
    } finally {
      // Others check the whole store.
      await node.shell(`rm -f '${file}'`);
    }
  }, 120_000);

  test('what is in Deep Archive is asked for, and restored when it is back', async () => {
    const user = await newUser('frozen');
    const subject = randomUUID();
    const [{ key, metadata }] = await send([message(subject)], user.address);
    await arrived(user, 1);
    const archive = () => {
      const CopySource = `${bucket()}/${key}`;
      const to = { Bucket: bucket(), Key: key, CopySource, StorageClass: 'DEEP_ARCHIVE' } as const;
      return s3().send(new CopyObjectCommand({ ...to, MetadataDirective: 'REPLACE', Metadata: metadata }));
    };
    await archive();
    const args = ['--user', user.address, '--folder', FOLDER, '--tier', 'Bulk'];
    // Nobody pays for what is there.
    expect(await restore(args)).toMatchObject({ status: 0, report: { duplicates: 1, waiting: 0 } });
    await take(user, 'all');
    expect(await restore([...args, '--dry-run'])).toMatchObject({ status: 1, report: { waiting: 1 } });
    const asked = await restore(args);
    expect(asked).toMatchObject({ status: 1, report: { found: 1, restored: 0, waiting: 1, missing: 1 } });
    expect(asked.stderr).toContain(`waiting: ${key}`);
    const back = await restore([...args, '--wait', '--wait-interval', '1']);
    expect(back).toMatchObject({ status: 0, report: { restored: 1, waiting: 0, missing: 0 } });
    expect(subjectsOf(await kept(user, FOLDER))).toEqual([subject]);
  }, 120_000);

  test('one message, a time, a domain, aliases and details', async () => {
    const [carol, dave] = [await newUser('carol'), await newUser('dave')];
    const id = `<${randomUUID()}@example.org>`;
    const [one, detail, later] = [randomUUID(), randomUUID(), randomUUID()];
    const [first] = await send([message(one, id)], carol.address, dave.address);
    await send([message(detail)], carol.address.replace('@', '+lists@'));
    const end = 1000 * Math.ceil(Date.now() / 1000) + 1000;
    await waitFor('the next second', 5000, async () => (Date.now() > end ? true : undefined));
    await send([message(later)], carol.address);
    await arrived(carol, 3);
    await arrived(dave, 1);
    await take(carol, 'all');
    await take(dave, 'all');

    // To each who had it.
    const domain = ['--domain', system().cluster.domains[0], '--message', id, '--folder', FOLDER];
    expect(await restore(domain)).toMatchObject({ status: 0, report: { found: 2, restored: 2 } });
    expect(subjectsOf(await kept(carol, FOLDER))).toEqual([one]);
    expect(subjectsOf(await kept(dave, FOLDER))).toEqual([one]);
    expect(await restore(domain)).toMatchObject({ status: 0, report: { restored: 0, duplicates: 2 } });

    const to = ['--user', carol.address, '--folder', FOLDER];
    expect((await restore([...to, '--message', first.key])).report).toMatchObject({ found: 1, duplicates: 1 });
    const none = await restore([...to, '--message', '<nobody@example.org>']);
    expect(none).toMatchObject({ status: 1, report: { found: 0, missing: 1 } });
    expect(none.stderr).toContain('missing: <nobody@example.org>');

    const until = new Date(end).toISOString().replace('.000', '');
    expect((await restore([...to, '--to', until])).report).toMatchObject({ found: 1, duplicates: 1 });
    expect((await restore([...to, '--to', until, '--envelopes'])).report).toMatchObject({ found: 2, restored: 1 });
    expect((await restore([...to, '--from', until])).report).toMatchObject({ found: 1, restored: 1 });
    expect(subjectsOf(await kept(carol, FOLDER))).toEqual([one, detail, later].sort());
    const also = ['--also', carol.address.replace('@', '+lists@')];
    expect((await restore([...to, ...also])).report).toMatchObject({ found: 3, duplicates: 3 });
  }, 180_000);

  test('what a user sent is not put beside the copy that the client has kept', async () => {
    const { alice, view } = system();
    const user = await newUser('sender');
    const [saved, unsaved] = [randomUUID(), randomUUID()];
    const raws = [saved, unsaved].map((subject) => message(subject, `<${subject}@example.org>`));
    for (const raw of raws) {
      const client = submissionClient(view, user);
      await client.sendMail({ envelope: { from: user.address, to: alice.address }, raw });
      client.close();
    }
    const imap = imapClient(view, user);
    await imap.connect();
    await imap.append('Sent', raws[0], ['\\Seen']);
    await imap.logout();
    await waitFor('both in the journal', 30_000, async () => {
      const texts = (await readJournal(s3(), bucket())).map(({ text }) => text);
      return [saved, unsaved].every((subject) => texts.some((text) => text.includes(subject))) ? true : undefined;
    });
    const args = ['--user', user.address, '--sent', '--folder', 'Sent', '--seen'];
    expect(await restore(args)).toMatchObject({ status: 0, report: { found: 2, restored: 1, duplicates: 1 } });
    expect(await restore(args)).toMatchObject({ status: 0, report: { found: 2, restored: 0, duplicates: 2 } });
    expect(subjectsOf(await kept(user, 'Sent'))).toEqual([saved, unsaved].sort());
  }, 120_000);

  test('a mailbox that can not be opened, or takes no more, is told', async () => {
    const user = await newUser('limited');
    const subjects = Array.from({ length: 6 }, () => randomUUID());
    const body = `${'x'.repeat(70)}\r\n`.repeat(4000);
    await send(
      subjects.map((subject) => `${message(subject)}${body}`),
      user.address,
    );
    await arrived(user, 6);
    await take(user, 'all');
    const { cluster } = system();
    await cluster.userDirectory().update((file) => {
      file.remove(user.address);
      file.add(user.address, PASSWORD, { quota: '1M' });
    });
    await Promise.all(cluster.nodes.map((node) => node.shell('systemctl start mail-directory-sync.service')));
    const args = ['--user', user.address, '--folder', FOLDER];
    // The first goes alone, the others together: the server takes none of them, and then two one by one.
    const full = await restore([...args, '--connections', '1']);
    expect(full).toMatchObject({ status: 1, report: { found: 6, restored: 3, failed: 3, missing: 3 } });
    expect((await kept(user, FOLDER)).length).toBe(3);
    expect(full.stderr).toMatch(/failed: journal\/.*quota/i);

    const wrong = await restore([...args, '--login', system().alice.address]);
    expect(wrong).toMatchObject({ status: 1, report: { found: 6, failed: 6, missing: 6 } });
    expect(wrong.stderr).toContain(`no login as ${system().alice.address}`);
  }, 120_000);
}
