import { randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ImapFlow } from 'imapflow';
import { createTransport } from 'nodemailer';
import { imapClient, type LocalUser } from '../../local/mail-clients';
import { waitFor } from '../../local/run';
import type { System } from './system';

const COPY = '/var/tmp/copied';
const PASSWORD = 'restore-local-password';
const PROJECT = 'Projects/Ärger & co';

/** A message of a mailbox, with all that a restore must bring back. */
interface Kept {
  readonly folder: string;
  readonly subject: string;
  readonly flags: string[];
  readonly date: string;
  readonly source: string;
}

/** Mail comes back from a copy of the store, as a restored backup is, with folders, flags and times (D4, D5). */
export function storeRestoreSuite(system: () => System): void {
  const node = () => system().cluster.nodes[0];

  beforeAll(() => node().shell(`cat >/var/tmp/ca.pem <<'END'\n${system().view.authority}\nEND`));
  afterAll(() => node().shell(`rm -rf ${COPY} /var/tmp/ca.pem`));

  /** What the script is started with, up to the folder: rights to read users and journal, and whom to trust. */
  const command = () => {
    const { aws, plan } = system().cluster;
    const rights = { ...aws.environment, AWS_ENDPOINT_URL: aws.endpointFor(plan.gateway) };
    const variables = Object.entries({ ...rights, AWS_ENDPOINT_URL_S3: rights.AWS_ENDPOINT_URL })
      .filter(([name]) => name.startsWith('AWS_'))
      .map(([name, value]) => `${name}=${value}`);
    const script = `/opt/mail-platform/libexec/restore-store ${COPY} --imap imaps://127.0.0.1`;
    return `${variables.join(' ')} NODE_EXTRA_CA_CERTS=/var/tmp/ca.pem ${script} --tls-name ${system().view.hostname}`;
  };

  const restore = async (options: string, password = PASSWORD) => {
    const output = await node().shell(
      `${command()} ${options} <<<'${password}' 2>/tmp/restore-said; echo $?; cat /tmp/restore-said`,
      { timeout: 120_000 },
    );
    const lines = output.trim().split(/\n+/);
    const report = lines[0].startsWith('{') ? JSON.parse(lines.shift()!) : {};
    return { status: Number(lines.shift()), report, said: lines.join('\n') };
  };

  const copyStore = () => node().shell(`rm -rf ${COPY} && cp -a /srv/mail-store ${COPY}`);

  const newUser = async (name: string): Promise<LocalUser> => {
    const { cluster } = system();
    const user = { address: `${name}@${cluster.domains[0]}`, password: PASSWORD };
    await cluster.userDirectory().update((file) => file.add(user.address, user.password));
    await Promise.all(cluster.nodes.map((one) => one.shell('systemctl start mail-directory-sync.service')));
    return user;
  };

  const withClient = async <T>(user: LocalUser, work: (client: ImapFlow) => Promise<T>): Promise<T> => {
    const client = imapClient(system().view, user);
    await client.connect();
    try {
      return await work(client);
    } finally {
      await client.logout().catch(() => client.close());
    }
  };

  const kept = (user: LocalUser) =>
    withClient(user, async (client) => {
      const found: Kept[] = [];
      for (const { path, flags: attributes } of await client.list()) {
        if (attributes.has('\\Noselect') || attributes.has('\\NonExistent')) continue;
        if ((await client.mailboxOpen(path, { readOnly: true })).exists === 0) continue;
        const query = { source: true, internalDate: true, flags: true, envelope: true };
        for await (const { source, internalDate, flags, envelope } of client.fetch('1:*', query)) {
          found.push({
            ...{ folder: path, subject: envelope!.subject!, source: source!.toString('latin1') },
            flags: [...flags!].filter((flag) => flag !== '\\Recent').sort(),
            date: new Date(internalDate!).toISOString(),
          });
        }
      }
      return found.sort((a, b) => `${a.folder} ${a.subject}`.localeCompare(`${b.folder} ${b.subject}`));
    });

  const send = async (subjects: string[], user: LocalUser) => {
    const { view } = system();
    const tls = { ca: view.authority, servername: view.hostname };
    const client = createTransport({ host: view.address, port: 25, tls, pool: true, maxConnections: 2 });
    const before = (await kept(user)).length;
    for (const subject of subjects) {
      const raw = `From: <someone@example.net>\r\nSubject: ${subject}\r\n\r\nhello\r\n`;
      await client.sendMail({ envelope: { from: 'someone@example.net', to: [user.address] }, raw });
    }
    client.close();
    await waitFor('them in the mailbox', 60_000, async () =>
      (await kept(user)).length >= before + subjects.length ? true : undefined,
    );
  };

  const raw = (subject: string, body = 'hello') => `From: <a@example.net>\r\nSubject: ${subject}\r\n\r\n${body}\r\n`;

  /** Deletes messages for ever, and the user's own folders. */
  const lose = (user: LocalUser, folders: string[]) =>
    withClient(user, async (client) => {
      for (const folder of folders) {
        if (folder.includes('/')) {
          await client.mailboxDelete(folder);
        } else {
          await client.mailboxOpen(folder);
          await client.messageDelete({ all: true });
        }
      }
    });

  test('folders, flags, keywords and times are as they were, once, and to a point in time', async () => {
    const user = await newUser('copied');
    const names = ['delivered', 'moved', 'twice', 'trashed', 'later', 'latest'].map(
      (name) => `${name} ${randomUUID()}`,
    );
    const [delivered, moved, twice, trashed, later, latest] = names;
    await send([delivered, moved, twice, trashed], user);
    await withClient(user, async (client) => {
      await client.mailboxCreate(PROJECT);
      await client.mailboxSubscribe(PROJECT);
      await client.mailboxCreate('Projects/Empty');
      const date = new Date('2021-02-03T04:05:06Z');
      await client.append(PROJECT, raw('marked'), ['\\Flagged', '\\Seen', '$Forwarded', 'urgent'], date);
      await client.append(PROJECT, raw('answered', 'x'.repeat(100_000)), ['\\Answered'], date);
      // Without any line that tells them apart but what they are about.
      await client.append('Sent', raw('one of two'), ['\\Seen'], date);
      await client.append('Sent', raw('two of two'), ['\\Seen'], date);
      await client.mailboxOpen('INBOX');
      await client.messageFlagsAdd({ subject: delivered }, ['\\Seen', 'urgent']);
      await client.messageCopy({ subject: twice }, 'Archive');
      await client.messageMove({ subject: trashed }, 'Trash');
    });
    const before = await kept(user);
    const wanted = before.filter(({ folder }) => folder !== 'Trash');
    expect(wanted).toHaveLength(8);
    await copyStore();
    await sleep(1100);
    const copied = new Date().toISOString().replace(/\.\d+/, '');
    await send([later], user);
    await sleep(1100);
    const until = new Date().toISOString().replace(/\.\d+/, '');
    await sleep(1100);
    await send([latest], user);

    await withClient(user, async (client) => {
      await client.mailboxOpen('INBOX');
      await client.messageMove({ subject: moved }, 'Archive');
    });
    await lose(user, ['INBOX', 'Sent', PROJECT]);
    const rest = await kept(user);
    const here = `--user ${user.address}`;

    const dry = await restore(`${here} --dry-run`);
    expect(dry).toMatchObject({ status: 0, said: '' });
    expect(dry.report).toMatchObject({ looked: 8, found: 8, restored: 6, duplicates: 2, missing: 0, dryRun: true });
    expect(await kept(user)).toEqual(rest);

    expect((await restore(here)).report).toMatchObject({ found: 8, restored: 6, duplicates: 2, missing: 0 });
    const after = await kept(user);
    const where = (list: Kept[]) => list.filter(({ folder, subject }) => folder !== 'Trash' && subject !== moved);
    expect(where(after)).toEqual(where(wanted));
    expect(after.filter(({ subject }) => subject === moved).map(({ folder }) => folder)).toEqual(['Archive']);
    const folders = await withClient(user, (client) => client.list());
    expect(folders.find(({ path }) => path === PROJECT)).toMatchObject({ subscribed: true });
    expect((await restore(here)).report).toMatchObject({ restored: 0, duplicates: 8, missing: 0 });
    expect(await kept(user)).toEqual(after);

    // One folder, beside what the user has.
    await lose(user, [PROJECT]);
    const project = `${here} --from-folder Projects --folder Back/today`;
    expect((await restore(project)).report).toMatchObject({ found: 2, restored: 2 });
    const back = (await kept(user)).filter(({ folder }) => folder === `Back/today/${PROJECT}`);
    expect(back.map(({ flags }) => flags)).toEqual(
      wanted.filter(({ folder }) => folder === PROJECT).map(({ flags }) => flags),
    );

    // As it was at a time after the copy was made.
    await lose(user, ['INBOX', 'Archive', 'Sent', `Back/today/${PROJECT}`]);
    const journal = `--journal s3://${system().cluster.plan.environment.MAIL_JOURNAL_BUCKET}`;
    const toTime = await restore(`${here} ${journal} --from ${copied} --to ${until}`);
    expect(toTime.report).toMatchObject({ found: 9, restored: 9, duplicates: 0, missing: 0 });
    const then = (await kept(user)).filter(({ folder }) => folder !== 'Trash');
    expect(then.filter(({ subject }) => subject !== later)).toEqual(wanted);
    expect(then.filter(({ subject }) => subject === later).map(({ folder }) => folder)).toEqual(['INBOX']);

    expect(await node().shell('ls -d /run/mail-copy.* 2>/dev/null || echo none')).toBe('none\n');
  }, 240_000);

  test('killed in the middle and run again: all of it is there once; what is cut off is told', async () => {
    const user = await newUser('copied-much');
    const subjects = Array.from({ length: 200 }, () => randomUUID()).sort();
    await withClient(user, async (client) => {
      // Large enough for a restore to take a while, and none the smaller on the store.
      const body = randomBytes(75_000).toString('base64');
      for (const subject of subjects) await client.append('INBOX', raw(subject, body), ['\\Seen']);
    });
    await copyStore();
    const [name, domain] = user.address.split('@');
    const file = await node().shell(`ls ${COPY}/mail/${domain}/${name}/mail/cur/* | head -n 1`);
    await node().shell(`truncate --size=40 '${file.trim()}'`);
    await lose(user, ['INBOX']);

    const here = `--user ${user.address} --connections 1`;
    const killed = node().shell(
      `${command()} ${here} <<<'${PASSWORD}' >/dev/null 2>&1 & script=$!; folder=/srv/mail-store/mail/${domain}/${name}/mail; ` +
        'for ((i = 0; i < 5000; i++)); do [[ -z $(ls $folder/cur) ]] || break; sleep 0.01; done; ' +
        'kill -KILL $(pgrep -P $script); wait $script; echo $?',
    );
    expect(await killed).toContain('137');
    const some = (await kept(user)).length;
    expect(some).toBeGreaterThan(0);
    expect(some).toBeLessThan(199);

    const { status, report, said } = await restore(here);
    expect(status).toBe(1);
    expect(report).toMatchObject({ found: 200, restored: 199 - some, duplicates: some, broken: 1, missing: 1 });
    expect(said).toMatch(new RegExp(`^broken: ${user.address}, INBOX, UID \\d+: `, 'm'));
    const there = (await kept(user)).map(({ subject }) => subject).sort();
    expect(there).toHaveLength(199);
    expect(subjects).toEqual(expect.arrayContaining(there));
    expect(new Set(there).size).toBe(199);
  }, 180_000);

  test('fails when the copy has no such mailbox, or the password is wrong', async () => {
    const { alice } = system();
    await copyStore();
    const none = await restore('--user nobody@example.com');
    expect(none).toMatchObject({
      status: 1,
      said: expect.stringContaining('the copy has no mailbox of nobody@example.com'),
    });
    await send([randomUUID()], alice);
    await copyStore();
    const wrong = await restore(`--user ${alice.address}`, 'wrong');
    expect(wrong).toMatchObject({ status: 1, report: { restored: 0, duplicates: 0 } });
    expect(wrong.report.failed).toBeGreaterThan(0);
    expect(wrong.said).toContain(`no login as ${alice.address}`);
  }, 120_000);
}
