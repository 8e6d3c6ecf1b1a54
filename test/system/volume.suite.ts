import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import * as path from 'node:path';
import { homeOf } from '../../agent/src/ring/home';
import type { UserFile } from '../../bin/users/user-file';
import { ec2, elements } from '../../local/ec2';
import { imapClient, type ClientView, type LocalUser } from '../../local/mail-clients';
import type { LocalNode } from '../../local/node';
import { inbox, roundTrip, submit } from '../../local/round-trip';
import { run, sleep, waitFor } from '../../local/run';
import { LineClient } from './line-client';
import { control } from './ring';
import type { System } from './system';

const SHARDS = ['shard-1', 'shard-2', 'shard-3'];
const STORE = '/srv/mail-store';
const TAG = 'mail-platform:shard';
/** What ext4 wants of whoever resizes it while it is mounted. */
const CAP_SYS_RESOURCE = 1n << 24n;
const FORMATTED = 'mail-platform:formatted';

/** Mail on zonal shards: one volume and one node to each (D1, E3, E8). */
export function volumeSuite(system: () => System): void {
  const cluster = () => system().cluster;
  const volumes = () => cluster().volumes;

  /** One user to a shard. */
  const users = new Map<string, LocalUser>();
  const userOf = (shard: string) => users.get(shard)!;
  const nodeOf = (shard: string): LocalNode =>
    cluster().nodes.find(({ name }) => name === `node${SHARDS.indexOf(shard) + 1}`)!;
  const volumeOf = async (shard: string): Promise<string> => {
    const filter = { 'Filter.1.Name': `tag:${TAG}`, 'Filter.1.Value.1': `MailStack/${shard}` };
    return elements(await ec2(cluster().aws, 'DescribeVolumes', filter), 'volumeId')[0];
  };
  const ring = (node: LocalNode) => node.shell('cat /run/mail-platform/ring');
  const settled = () =>
    Promise.all(
      cluster().nodes.map((node) =>
        waitFor(`${node.name} to see all shards`, 60_000, async () => {
          const text = await ring(node);
          const held = SHARDS.every((shard) => text.includes(`shard\t${shard}\t${nodeOf(shard).address}\n`));
          return held && text.includes('settled\tyes') ? true : undefined;
        }),
      ),
    );

  beforeAll(async () => {
    for (let number = 1; users.size < SHARDS.length; number++) {
      const address = `sharded${number}@${cluster().domains[0]}`;
      const shard = homeOf(address, SHARDS)!;
      if (!users.has(shard)) users.set(shard, { address, password: `${address}-password` });
    }
    await cluster()
      .userDirectory()
      .update((file) => users.forEach(({ address, password }) => file.add(address, password)));
    await Promise.all(cluster().nodes.map((node) => node.shell('systemctl start mail-directory-sync')));
    await settled();
  }, 120_000);

  test('each node has attached, formatted and mounted its own volume, and its queue is there', async () => {
    for (const shard of SHARDS) {
      const node = nodeOf(shard);
      const volume = await volumeOf(shard);
      expect(await volumes().holderOf(volume)).toBe(node.planned.instanceId);
      const mounted = await node.shell(`findmnt --noheadings --output FSTYPE,LABEL,OPTIONS ${STORE}`);
      expect(mounted).toMatch(new RegExp(`^ext4 +mail-${shard} +rw,nosuid,nodev,noexec,noatime`));
      expect(await node.shell('findmnt --noheadings --output FSROOT /var/spool/postfix')).toBe(`/queue/${shard}\n`);
      expect(await node.shell(`cat ${STORE}/shards`)).toBe(`MailStack: ${SHARDS.join(' ')}\n`);
      const tags = await ec2(cluster().aws, 'DescribeVolumes', { 'VolumeId.1': volume });
      expect(tags).toMatch(new RegExp(`<key>${FORMATTED}</key>\\s*<value>20\\d\\d-`));
      expect(
        await node.shell("systemctl list-units --failed --no-legend 'mail-*' 'srv-*' postfix.service dovecot.service"),
      ).toBe('');
    }
  });

  test("a user's mail lies on the shard's volume and nowhere else, and is read from any node", async () => {
    const { view } = system();
    for (const shard of SHARDS) {
      await roundTrip(view, userOf(SHARDS[0]), userOf(shard));
      const [name, domain] = userOf(shard).address.split('@');
      for (const other of SHARDS) {
        const found = await nodeOf(other).shell(`ls -d ${STORE}/mail/${domain}/${name} 2>&1 || true`);
        if (other === shard) expect(found).toBe(`${STORE}/mail/${domain}/${name}\n`);
        else expect(found).toContain('No such file');
      }
      for (const node of cluster().nodes) {
        const there = { ...view, address: node.address };
        expect(await inbox(there, userOf(shard))).toHaveLength(1);
      }
    }
  });

  describe('a user whose shard was chosen', () => {
    const user = () => ({ address: `chosen.${userOf('shard-1').address}`, password: 'a-password-of-their-own' });
    const synchronise = () =>
      Promise.all(cluster().nodes.map((node) => node.shell('systemctl start mail-directory-sync')));
    const change = async (edit: (file: UserFile) => void) => {
      await cluster().userDirectory().update(edit);
      await synchronise();
    };
    const lines = (node: LocalNode, since: number) =>
      node.shell(`journalctl --unit mail-directory-sync --since @${since} --output=cat --no-pager`);
    const login = async (node: LocalNode, { address, password }: LocalUser) => {
      const client = await LineClient.tls(node.address, 993, system().tls);
      await client.expect(/^\* OK/);
      const answer = await client.ask(`a1 LOGIN ${address} ${password}`, /^a1 /);
      client.close();
      return answer;
    };
    const folders = (address: string) => {
      const [name, domain] = address.split('@');
      return Promise.all(
        SHARDS.map((shard) => nodeOf(shard).shell(`ls -d ${STORE}/mail/${domain}/${name} 2>/dev/null || true`)),
      );
    };
    let address: string;
    let other: string;

    beforeAll(async () => {
      address = user().address;
      other = SHARDS.find((shard) => shard !== homeOf(address, SHARDS))!;
      await change((file) => file.add(address, user().password, { shard: Number(other.at(-1)) }));
    });

    test('has the mail there and nowhere else, from whichever node it comes and is read', async () => {
      const { view } = system();
      for (const [index, node] of cluster().nodes.entries()) {
        const there = { ...view, address: node.address };
        await roundTrip(there, userOf('shard-1'), user());
        expect(await inbox(there, user())).toHaveLength(index + 1);
      }
      const found = await folders(address);
      expect(found.map((text) => text !== '')).toEqual(SHARDS.map((shard) => shard === other));
    });

    test('is the user of that node for scripts, too', async () => {
      const script = `from ring import read_ring, serves; print(serves(read_ring(), "${address}"))`;
      for (const shard of SHARDS) {
        const answer = await nodeOf(shard).shell(`cd /opt/mail-platform/libexec && python3 -B -c '${script}'`);
        expect(answer).toBe(shard === other ? 'True\n' : 'False\n');
      }
    });

    test('who comes back to another shard is named by the node that has the mail', async () => {
      const begun = Math.floor(Date.now() / 1000);
      await change((file) => file.remove(address));
      await change((file) => file.add(address, user().password));
      const home = homeOf(address, SHARDS)!;
      expect(await lines(nodeOf(other), begun)).toContain(
        `${address} has mail here, on ${other}, and belongs to ${home}, where they do not see it`,
      );
      expect(await lines(nodeOf(home), begun)).not.toContain('has mail here');
      await change((file) => file.remove(address));
      await change((file) => file.add(address, user().password, { shard: Number(other.at(-1)) }));
      expect((await inbox(system().view, user())).length).toBe(cluster().nodes.length);
    });

    test('is told to come again, and mail waits, when there is no such shard', async () => {
      const lost = { address: `lost.${userOf('shard-1').address}`, password: 'a-password-of-their-own' };
      const begun = Math.floor(Date.now() / 1000);
      await change((file) => file.add(lost.address, lost.password, { shard: 9 }));
      for (const node of cluster().nodes) {
        expect(await login(node, lost)).toMatch(/^a1 NO \[UNAVAILABLE\]/m);
        expect(await lines(node, begun)).toContain(`${lost.address} is to be on shard-9, which is none of shard-1`);
      }
      const { view } = system();
      const subject = randomUUID();
      await submit(view, userOf('shard-1'), lost.address, subject);
      expect(await folders(lost.address)).toEqual(['', '', '']);
      await change((file) => file.remove(lost.address));
      await change((file) => file.add(lost.address, lost.password, { shard: 1 }));
      await Promise.all(cluster().nodes.map((node) => node.shell('postqueue -f')));
      await waitFor('what waited', 60_000, async () =>
        (await inbox(view, lost)).includes(subject) ? true : undefined,
      );
    }, 120_000);

    test('who is erased goes from that shard', async () => {
      await change((file) => file.erase(address, new Date(), new Date()));
      await nodeOf(other).shell('systemctl start mail-erase.service');
      expect(await folders(address)).toEqual(['', '', '']);
      expect(await nodeOf(other).shell(`find ${STORE}/erased -name '${address.split('@')[0]}'`)).toBe('');
    });
  });

  test('old mail moves to the other store at night and is read there; while that is away it is not lost', async () => {
    const { view } = system();
    const user = userOf('shard-1');
    const node = nodeOf('shard-1');
    const [name, domain] = user.address.split('@');
    const files = async (store: string) =>
      Number(await node.shell(`find ${store}/mail/${domain}/${name} -name 'u.*' | wc -l`));
    const before = await sources(view, user);
    expect(before.length).toBeGreaterThan(0);
    expect(await files(STORE)).toBe(before.length);

    // What is done at night, with all mail old enough.
    await node.shell('env MAIL_OLD_DAYS=0 /opt/mail-platform/libexec/maintain');
    expect([await files(STORE), await files('/srv/mail-old')]).toEqual([0, before.length]);
    expect(await sources(view, user)).toEqual(before);
    await roundTrip(view, userOf('shard-2'), user);
    expect([await files(STORE), await files('/srv/mail-old')]).toEqual([1, before.length]);
    // With its own setting the night leaves alone what came today.
    await node.shell('systemctl start mail-maintenance.service');
    expect(await files(STORE)).toBe(1);

    const all = await sources(view, user);
    await node.shell('mount -t tmpfs -o mode=0555,ro tmpfs /srv/mail-old');
    try {
      expect(await inbox(view, user)).toHaveLength(before.length + 1);
      await expect(sources(view, user)).rejects.toThrow();
    } finally {
      await node.shell('umount /srv/mail-old');
    }
    expect(await sources(view, user)).toEqual(all);
  });

  test('Lua and Python find the home that the agent finds', async () => {
    const [node] = cluster().nodes;
    const script = readFileSync(path.join(__dirname, 'on-node/home-vectors.py'), 'utf8');
    await node.exec(['sh', '-c', 'cat >/tmp/home-vectors.py'], { input: script });
    const input = readFileSync(path.join(__dirname, '../../agent/test/ring/shard-vectors.json'), 'utf8');
    const { stdout } = await node.exec(['python3', '/tmp/home-vectors.py'], { input });
    expect(stdout).toMatch(/^\d+ vectors\n$/);
  });

  test('a volume that grew is used as it is, while mail goes on', async () => {
    const [, capabilities] = /^CapEff:\t(.*)$/m.exec(readFileSync('/proc/self/status', 'utf8'))!;
    if (!(BigInt(`0x${capabilities}`) & CAP_SYS_RESOURCE)) {
      return console.log('skipped: this machine does not let root resize a mounted file system (CAP_SYS_RESOURCE)');
    }
    const node = nodeOf('shard-1');
    const volume = await volumeOf('shard-1');
    const size = async () => Number(await node.shell(`findmnt --noheadings --bytes --output SIZE ${STORE}`));
    const before = await size();
    await run('truncate', ['--size', '3G', path.join(cluster().folder, `${volume}.disk`)]);
    await run('losetup', ['--set-capacity', volumes().deviceOf(volume)]);
    await node.shell('systemctl start mail-volume-grow.service');
    expect(await size()).toBeGreaterThan(1.4 * before);
    await roundTrip(system().view, userOf('shard-2'), userOf('shard-1'));
  });

  describe('a node that is lost', () => {
    const shard = 'shard-2';
    let subject: string;
    let queued: string;
    let mailBefore: string[];

    test('takes its users along, who are told to come again, and nobody else', async () => {
      const { view } = system();
      mailBefore = await inbox(view, userOf(shard));
      // Accepted by the node that is about to die, and not delivered by it: its own queue has it.
      queued = randomUUID();
      const node = nodeOf(shard);
      await node.shell('postconf -e defer_transports=lmtp,smtp,local,virtual,relay && postfix reload');
      await submit({ ...view, address: node.address }, userOf(shard), userOf('shard-1').address, queued);
      await waitFor('it to be in the queue', 20_000, async () =>
        (await node.shell('postqueue -j')).includes(userOf('shard-1').address) ? true : undefined,
      );
      await node.cutPower();
      const others = cluster().nodes.filter((other) => other !== node);
      await Promise.all(
        others.map((other) =>
          waitFor(`${other.name} to know`, 30_000, async () =>
            (await ring(other)).includes(`shard\t${shard}\t\n`) ? true : undefined,
          ),
        ),
      );
      for (const other of others) {
        const there = { ...view, address: other.address };
        const client = await LineClient.tls(other.address, 993, system().tls);
        await client.expect(/^\* OK/);
        const { address, password } = userOf(shard);
        expect(await client.ask(`a1 LOGIN ${address} ${password}`, /^a1 /)).toMatch(/^a1 NO \[UNAVAILABLE\]/m);
        client.close();
        subject = randomUUID();
        await submit(there, userOf('shard-1'), userOf(shard).address, subject);
        await roundTrip(there, userOf('shard-1'), userOf('shard-3'));
      }
      const reasons = await Promise.all(others.map((other) => other.shell('postqueue -j')));
      expect(reasons.join('')).toContain(userOf(shard).address);
      expect(reasons.join('')).toMatch(/4\d\d 4\./);
    }, 120_000);

    test('is followed by one that waits for the volume, and has mail and queue of the first', async () => {
      const { view } = system();
      const dead = nodeOf(shard);
      await cluster().clear(dead);
      const begin = Date.now();
      const node = await cluster().launch();
      expect(node.name).toBe(dead.name);
      expect(node.planned.instanceId).not.toBe(dead.planned.instanceId);
      await settled();
      console.log(`the shard was served again ${(Date.now() - begin) / 1000} s after its node was launched`);
      expect(await node.shell('journalctl --output=cat -u mail-volume')).not.toContain('formatting');
      await Promise.all(
        cluster().nodes.map((other) => other.shell('systemctl start mail-directory-sync; postqueue -f')),
      );
      await waitFor('mail from before, and what waited elsewhere', 60_000, async () => {
        const now = await inbox(view, userOf(shard));
        return mailBefore.every((before) => now.includes(before)) && now.includes(subject) ? true : undefined;
      });
      await waitFor('what the dead node had queued', 60_000, async () =>
        (await inbox(view, userOf('shard-1'))).includes(queued) ? true : undefined,
      );
    }, 240_000);
  });

  test('a node that lost its lease and has it back mounts its volume anew', async () => {
    const node = nodeOf('shard-3');
    await node.shell('systemctl stop mail-agent');
    expect(await control(node, 'fence')).toBe('ok');
    await expect(node.shell('pgrep -x dovecot')).rejects.toThrow();
    expect(await control(node, 'unfence')).toBe('ok');
    expect(await node.shell(`findmnt --noheadings --output LABEL ${STORE}`)).toBe('mail-shard-3\n');
    expect(await node.shell('findmnt --noheadings --output FSROOT /var/spool/postfix')).toBe('/queue/shard-3\n');
    await node.shell('systemctl start mail-agent');
    await settled();
    await roundTrip(system().view, userOf('shard-1'), userOf('shard-3'));
  }, 120_000);

  describe('attach-volume', () => {
    const NAME = 'Other/shard-1';

    /** Runs the script on a node as its unit does, without touching what the node itself has. */
    const attach = (node: LocalNode, volume: string, limit = 30, name = 'Other'): Promise<string> => {
      const environment = [
        ...[`MAIL_STORE_VOLUME=${volume}`, `MAIL_STORE_NAME=${name}`, 'MAIL_SHARD=shard-1'],
        ...[`AWS_ENDPOINT_URL=${cluster().aws.endpointFor(cluster().plan.gateway)}`, 'AWS_DEFAULT_REGION=us-east-1'],
      ];
      const script = `timeout ${limit} env ${environment.join(' ')} /opt/mail-platform/libexec/attach-volume 2>&1; echo "status $?"`;
      return node.shell(`unshare --mount sh -c 'mount -t tmpfs tmpfs /run && ${script}'`, { timeout: 60_000 });
    };
    const made = (node: LocalNode, size?: string, tag = NAME) =>
      volumes().create(node.planned.zone, [{ Key: TAG, Value: tag }], size);
    const digest = async (volume: string) =>
      (await run('sha1sum', [path.join(cluster().folder, `${volume}.disk`)])).stdout.split(' ')[0];
    const detach = (volume: string, node: LocalNode) =>
      ec2(cluster().aws, 'DetachVolume', {
        ...{ VolumeId: volume, InstanceId: node.planned.instanceId, Device: '/dev/sdm' },
      });

    test('formats a new volume once, and knows it again on another node', async () => {
      const [one, ...others] = cluster().nodes;
      const volume = await made(one, '64M');
      expect(await attach(one, volume)).toMatch(/formatting .*, which is new\n[^]*status 0/);
      const again = await attach(one, volume);
      expect(again).toContain('status 0');
      expect(again).not.toContain('formatting');
      expect(others).toHaveLength(2);
      await detach(volume, one);
    });

    test('waits until another instance has given the volume up, and says for whom it waits', async () => {
      const [node] = cluster().nodes;
      const volume = await made(node, '64M');
      const instance = `i-${'f'.repeat(17)}`;
      await ec2(cluster().aws, 'RunInstances', {
        ...{ ImageId: 'ami-local', MinCount: '1', MaxCount: '1', ClientToken: instance },
        'Placement.AvailabilityZone': node.planned.zone,
      });
      const held = { VolumeId: volume, InstanceId: instance, Device: '/dev/sdm' };
      await ec2(cluster().aws, 'AttachVolume', held);
      let answer = '';
      const attaching = attach(node, volume, 50).then((text) => (answer = text));
      await sleep(8_000);
      expect(answer).toBe('');
      expect(await volumes().holderOf(volume)).toBe(instance);
      await ec2(cluster().aws, 'TerminateInstances', { 'InstanceId.1': instance });
      await attaching;
      expect(answer).toContain(`${volume} is still with ${instance} attached; waiting until that has ended`);
      expect(answer).toContain('status 0');
      await detach(volume, node);
    });

    test.each<[string, (device: string) => Promise<unknown>, RegExp]>([
      ['another file system', (device) => run('mkfs.ext4', ['-q', '-F', device]), /holds ext4 '' \S+, expected ext4/],
      [
        "another shard's file system",
        (device) => run('mkfs.ext4', ['-q', '-F', '-L', 'mail-shard-2', device]),
        /holds ext4 'mail-shard-2'/,
      ],
      [
        'a partition table',
        // One partition of Linux in sectors 2048 to 4095, and the mark at the end of the first sector.
        async (device) => {
          const at = (byte: number) => `dd of=${device} bs=1 seek=${byte} conv=notrunc status=none`;
          await run('sh', ['-c', `printf '\\0\\0\\0\\0\\203\\0\\0\\0\\0\\010\\0\\0\\0\\010\\0\\0' | ${at(446)}`]);
          await run('sh', ['-c', `printf '\\125\\252' | ${at(510)}`]);
        },
        /holds dos ''/,
      ],
      ['swap', (device) => run('mkswap', [device]), /holds swap/],
      [
        'bytes that nobody knows',
        (device) => run('sh', ['-c', `echo letters | dd of=${device} seek=3 conv=notrunc status=none`]),
        /holds data that nobody knows/,
      ],
    ])('refuses a volume with %s, in one line, and changes nothing on it', async (_name, fill, reason) => {
      const [node] = cluster().nodes;
      const volume = await made(node, '64M');
      await fill(volumes().deviceOf(volume));
      await run('sync', []);
      const before = await digest(volume);
      const answer = await attach(node, volume);
      expect(answer).toMatch(reason);
      expect(answer.trim().split('\n')).toEqual([
        expect.stringMatching(/^attach-volume: error: refused: .*; nothing on it was changed$/),
        'status 1',
      ]);
      await run('sync', []);
      expect(await digest(volume)).toBe(before);
      await detach(volume, node);
    });

    test('takes a volume made from a snapshot of a shard that was in use, and replays its journal', async () => {
      const node = nodeOf('shard-1');
      const live = await volumeOf('shard-1');
      const volume = await made(node, undefined, 'MailStack/shard-1');
      await node.shell(`dd if=/dev/urandom of=${STORE}/before bs=1M count=1 conv=fsync status=none`);
      const [from, to] = [live, volume].map((id) => path.join(cluster().folder, `${id}.disk`));
      await run('dd', [`if=${from}`, `of=${to}`, 'bs=1M', 'conv=notrunc,sparse', 'status=none']);
      await run('blockdev', ['--flushbufs', volumes().deviceOf(volume)]);
      const answer = await attach(node, volume, 30, 'MailStack');
      expect(answer).toMatch(/mail-shard-1: recovering journal[^]*status 0/);
      expect(answer).not.toContain('formatting');
      const mounted = '/tmp/snapshot';
      const device = `/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_${volume.replace('-', '')}`;
      const sum = `sha1sum <${STORE}/before; mkdir ${mounted}; mount -o ro ${device} ${mounted}; sha1sum <${mounted}/before`;
      const [here, there] = (await node.shell(`unshare --mount sh -c '${sum}'`)).trim().split('\n');
      expect(there).toBe(here);
      await detach(volume, node);
    });

    test('refuses a volume that looks empty and was formatted before', async () => {
      const [node] = cluster().nodes;
      const volume = await made(node, '64M');
      await ec2(cluster().aws, 'CreateTags', {
        ...{ 'ResourceId.1': volume, 'Tag.1.Key': FORMATTED, 'Tag.1.Value': '2026-01-01T00:00:00Z' },
      });
      const answer = await attach(node, volume);
      expect(answer).toMatch(/refused: .* looks empty, but was formatted at 2026-01-01T00:00:00Z[^]*status 1/);
      await detach(volume, node);
    });

    test("refuses another shard's volume before it is attached", async () => {
      const [node] = cluster().nodes;
      const volume = await made(node, '64M', 'Other/shard-2');
      expect(await attach(node, volume)).toMatch(
        /has the tag .* 'Other\/shard-2', expected 'Other\/shard-1'[^]*status 1/,
      );
      expect(await volumes().holderOf(volume)).toBeUndefined();
    });
  });

  test('a node that is told of other shards than its volume was made for does not use it', async () => {
    const [node] = cluster().nodes;
    const answer = await node.shell(
      `/opt/mail-platform/libexec/claim-volume ${STORE} MailStack 'shard-1 shard-2' '' 2>&1 || echo "status $?"`,
    );
    expect(answer).toContain(
      "was spread over 'MailStack: shard-1 shard-2 shard-3', now it would be 'MailStack: shard-1 shard-2'",
    );
    expect(answer).toContain('status 1');
  });

  test('a node that is not told where old mail went does not use the volume', async () => {
    const [node] = cluster().nodes;
    const answer = await node.shell(
      `/opt/mail-platform/libexec/claim-volume ${STORE} MailStack '${SHARDS.join(' ')}' '' 2>&1 || echo "status $?"`,
    );
    expect(answer).toMatch(/old mail of .* is on \S+\.efs\.\S+, now it would be on 'the volume'[^]*status 1/);
  });
}

/** The messages in a user's INBOX, byte by byte. @throws Error when one can't be read. */
async function sources(view: ClientView, user: LocalUser): Promise<string[]> {
  const client = imapClient(view, user);
  await client.connect();
  try {
    const { exists } = await client.mailboxOpen('INBOX', { readOnly: true });
    const found: string[] = [];
    for await (const message of client.fetch('1:*', { source: true })) {
      if (!message.source?.length) throw new Error(`message ${message.seq} has no text`);
      found.push(message.source.toString());
    }
    if (found.length !== exists) throw new Error(`${found.length} of ${exists} messages can be read`);
    return found;
  } finally {
    await client.logout().catch(() => client.close());
  }
}
