import { createServer, Server } from 'node:http';
import { CloudWatchClient, ListMetricsCommand } from '@aws-sdk/client-cloudwatch';
import { CreateKeyCommand, GetPublicKeyCommand, KMSClient } from '@aws-sdk/client-kms';
import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { handler } from '../../handlers/block-lists';
import { type CheckedList, signDocument } from '../../handlers/block-lists/document';
import { run, waitFor } from '../../local/run';
import { LineClient } from './line-client';
import type { System } from './system';

/** Where the clients of these tests connect from: a documentation network (RFC 5737), an upper half that will be listed. */
const NETWORK = '192.0.2';
const LISTED = `${NETWORK}.128/25`;
const LOGIN_PORTS = [993, 995, 465, 587, 4190];
const REFUSED = /ECONNREFUSED|ECONNRESET/;

/** Networks of bad repute (A10); docs/block-lists.md. The function runs here, against the cluster's S3 and KMS and a web server. */
export function blockListsSuite(system: () => System): void {
  const node = () => system().cluster.nodes[0];
  const object = () => system().cluster.plan.environment.MAIL_BLOCK_LISTS_OBJECT.replace('s3://', '').split('/');
  const open: LineClient[] = [];
  let sources = 0;
  const stranger = () => `${NETWORK}.${2 + (sources++ % 120)}`;
  const suspect = () => `${NETWORK}.${130 + (sources++ % 120)}`;
  const tcp = async (source: string, port: number) => {
    const client = await LineClient.tcp(node().address, port, source);
    open.push(client);
    return client;
  };

  let server: Server;
  /** What the server of the list answers. */
  let list: string[];
  const saved = { ...process.env };
  let kms: KMSClient;
  let s3: S3Client;
  let signingKey: string;

  const others = (count: number) => Array.from({ length: count }, (_, index) => `20.0.${index % 256}.0/24`);
  /** What the schedule does, and what the node's timer does then. */
  const refresh = async () => {
    jest.spyOn(process.stdout, 'write').mockReturnValue(true);
    try {
      return await handler();
    } finally {
      jest.restoreAllMocks();
    }
  };
  const pull = () => node().shell('systemctl start mail-block-lists.service');
  const said = () => node().shell('journalctl -u mail-block-lists --output=cat --lines=5');
  /** Networks in the firewall's set, as nft merged them. */
  const inForce = async () => {
    const { nftables } = JSON.parse(await node().shell('nft --json list set inet mail_limits listed4')) as {
      nftables: { set?: { elem?: unknown[] } }[];
    };
    return nftables.flatMap(({ set }) => set?.elem ?? []).length;
  };
  const put = (content: string) => {
    const [Bucket, Key] = object();
    return s3.send(new PutObjectCommand({ Bucket, Key, Body: content }));
  };
  const signed = (networks: string[], { made = Date.now() / 1000 + 60, key = signingKey } = {}) => {
    const lists: CheckedList[] = [{ name: 'strangers', fetched: Math.floor(Date.now() / 1000), networks }];
    return signDocument(kms, key, { made: Math.floor(made), lists });
  };
  const newKey = async () => {
    const { KeyMetadata } = await kms.send(new CreateKeyCommand({ KeySpec: 'ECC_NIST_P256', KeyUsage: 'SIGN_VERIFY' }));
    return KeyMetadata!.KeyId!;
  };

  beforeAll(async () => {
    const { aws, plan } = system().cluster;
    // The nodes' way back to it is their default route, which leads here.
    await run('ip', ['address', 'replace', `${NETWORK}.0/24`, 'dev', 'lo']);
    server = createServer((_request, response) => response.end(list.join('\n'))).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    kms = new KMSClient(aws.client);
    s3 = new S3Client(aws.client);
    signingKey = await newKey();
    const { PublicKey } = await kms.send(new GetPublicKeyCommand({ KeyId: signingKey }));
    const publicKey = Buffer.from(PublicKey!).toString('base64');
    const [BUCKET, OBJECT_KEY] = object();
    const { port } = server.address() as { port: number };
    Object.assign(process.env, aws.environment, {
      ...{ BUCKET, OBJECT_KEY, SIGNING_KEY: signingKey, PUBLIC_KEY: publicKey, GROWTH_MAX: '50', BLOCK_LISTS: 'Test' },
      PROTECTED: plan.environment.MAIL_BLOCK_LISTS_PROTECTED,
      LISTS: JSON.stringify([{ name: 'strangers', url: `http://127.0.0.1:${port}/`, format: 'lines', least: 200 }]),
    });
    // As CloudFormation would have put it there.
    await node().shell(
      `sed -i 's|^MAIL_BLOCK_LISTS_KEY=.*|MAIL_BLOCK_LISTS_KEY=${publicKey}|' /etc/mail-platform/env; ` +
        'bash /opt/mail-platform/bootstrap.sh',
      { timeout: 60_000 },
    );
  }, 90_000);

  afterEach(() => open.splice(0).forEach((client) => client.close()));

  afterAll(async () => {
    process.env = saved;
    server?.close();
    kms?.destroy();
    s3?.destroy();
    await node().shell('nft flush set inet mail_limits listed4; rm -f /etc/nftables.d/mail-listed.nft');
  });

  test('before the first list has come nobody is refused, and the node says so', async () => {
    await pull();
    expect(await said()).toContain('/block-lists does not exist yet: nobody is refused');
    await tcp(suspect(), 993);
  });

  test('who is listed is refused at once on all login ports, nobody else, and other mail servers on none', async () => {
    const session = await tcp(suspect(), 587);
    await session.expect(/^220 /);
    list = ['# strangers', LISTED, ...others(210)];
    expect(await refresh()).toEqual({ networks: 211, refused: 0, missed: 0 });
    await pull();
    expect(await said()).toContain('IPv4 and 0 IPv6 networks are refused: strangers 211');

    for (const port of LOGIN_PORTS) {
      const begin = Date.now();
      await expect(tcp(suspect(), port)).rejects.toThrow(REFUSED);
      expect(Date.now() - begin).toBeLessThan(1000);
      await tcp(stranger(), port);
    }
    await (await tcp(suspect(), 25)).expect(/^220 /);
    // Nor does a session go on that was there before.
    await expect(session.ask('EHLO client.example.net', /^250 /)).rejects.toThrow();
  }, 30_000);

  test('a list is replaced in one step: who is on both is never let in between', async () => {
    let ended = false;
    let refusals = 0;
    const knock = async () => {
      while (!ended) {
        await expect(tcp(suspect(), 993)).rejects.toThrow(REFUSED);
        refusals++;
      }
    };
    const knocking = [knock(), knock(), knock()];
    for (let turn = 0; turn < 4; turn++) {
      list = turn % 2 ? [LISTED, ...others(210)] : [`${NETWORK}.128/26`, `${NETWORK}.192/26`, ...others(250)];
      await refresh();
      await pull();
    }
    ended = true;
    await Promise.all(knocking);
    expect(refusals).toBeGreaterThan(100);

    list = [`${NETWORK}.254`, ...others(250)];
    await refresh();
    await pull();
    await tcp(suspect(), 993);
    list = [LISTED, ...others(210)];
    await refresh();
    await pull();
  }, 60_000);

  describe('a document that is not to be trusted changes nothing', () => {
    test.each<[string, () => Promise<string>, string]>([
      [
        'changed by somebody',
        async () => (await signed([LISTED])).replace(LISTED, '30.0.0.0/16'),
        'its signature is not by the key that this node was deployed with',
      ],
      [
        'signed by another key',
        async () => signed(['30.0.0.0/16'], { key: await newKey() }),
        'its signature is not by the key that this node was deployed with',
      ],
      [
        'without a signature',
        async () => (await signed(['30.0.0.0/16'])).split('\n')[0],
        'its signature is not by the key',
      ],
      ['a web page', async () => '<html>\n<body>', 'its signature is not by the key'],
      ['from before', () => signed(['30.0.0.0/16'], { made: 1_700_000_000 }), 'it is older than the one in use'],
      ['from the future', () => signed(['30.0.0.0/16'], { made: 4_000_000_000 }), 'it was made in the future'],
      // Signed by our key: the function was deceived, or is no longer ours.
      [
        'with the default route',
        () => signed([LISTED, '0.0.0.0/0']),
        '0.0.0.0/0 of strangers is larger than any network',
      ],
      ['with the whole of IPv6', () => signed([LISTED, '::/0']), '::/0 of strangers is larger than any network'],
      [
        'with a private network',
        () => signed([LISTED, '192.168.7.0/24']),
        '192.168.7.0/24 is no address of the internet',
      ],
      [
        'with the network of the nodes',
        () => signed([LISTED, system().cluster.plan.environment.MAIL_NODE_NETWORK]),
        'is no address of the internet',
      ],
      [
        'with whom the owner lets in',
        () => signed([LISTED, '198.51.100.7']),
        '198.51.100.7/32 is ours, or let in by the owner',
      ],
      [
        'with words',
        () => signed([LISTED, 'example.com']),
        "'example.com' does not appear to be an IPv4 or IPv6 network",
      ],
      [
        'with no list',
        () => signed([]).then(() => signDocument(kms, signingKey, { made: Date.now() / 1000, lists: [] })),
        'no list',
      ],
    ])('%s', async (_what, content, reason) => {
      const before = await inForce();
      await put(await content());
      await expect(pull()).rejects.toThrow();
      expect(await said()).toMatch(/\/block-lists refused, keeping the lists in use: /);
      expect(await said()).toContain(reason);
      expect(await inForce()).toBe(before);
      await expect(tcp(suspect(), 993)).rejects.toThrow(REFUSED);
      await tcp(stranger(), 993);
    });
  });

  test('a good one after that is taken again', async () => {
    list = [LISTED, ...others(220)];
    expect(await refresh()).toMatchObject({ refused: 0, missed: 0 });
    await pull();
    expect(await inForce()).toBeGreaterThan(1);
    await expect(tcp(suspect(), 993)).rejects.toThrow(REFUSED);
  });

  test('reading the rules anew and starting the machine keep the list, while S3 is away', async () => {
    system().cluster.aws.stall();
    try {
      // What a boot does: there is nothing, then nftables.service.
      for (const script of ['systemctl reload nftables', 'nft flush ruleset; systemctl restart nftables']) {
        await node().shell(script);
        await expect(tcp(suspect(), 993)).rejects.toThrow(REFUSED);
        await tcp(stranger(), 993);
      }
    } finally {
      system().cluster.aws.resume();
    }
    await pull();
    await expect(tcp(suspect(), 993)).rejects.toThrow(REFUSED);
  }, 30_000);

  test('the agent publishes how old the list is', async () => {
    const client = new CloudWatchClient(system().cluster.aws.client);
    await waitFor('the agent to publish', 70_000, async () => {
      const { Metrics = [] } = await client.send(
        new ListMetricsCommand({ Namespace: 'MailPlatform', MetricName: 'BlockListAge' }),
      );
      return Metrics.length > 0 ? true : undefined;
    });
    client.destroy();
  }, 90_000);
}
