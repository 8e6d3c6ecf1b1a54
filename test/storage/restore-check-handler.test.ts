import { randomUUID } from 'node:crypto';
import {
  CreateLaunchTemplateCommand,
  CreateSecurityGroupCommand,
  DescribeImagesCommand,
  DescribeInstancesCommand,
  DescribeSubnetsCommand,
  EC2Client,
  Instance,
  RunInstancesCommand,
} from '@aws-sdk/client-ec2';
import { CreateFileSystemCommand, DescribeMountTargetsCommand, EFSClient } from '@aws-sdk/client-efs';
import type { handler as Handler } from '../../handlers/restore-check';
import { Fate, FaultyProxy, ProxiedRequest, startFaultyProxy } from '../support/faulty-proxy';
import { MotoServer, startMotoServer } from '../support/moto-server';

let moto: MotoServer;
let proxy: FaultyProxy;
let ec2: EC2Client;
let efs: EFSClient;
let handler: typeof Handler;
let image: string;
/** What AWS Backup knows of each restore job; moto has no restore jobs, so the proxy answers in its place. */
let validations: { [job: string]: string };
let logged: string;
const saved = { ...process.env };

beforeAll(async () => {
  moto = await startMotoServer();
  proxy = await startFaultyProxy(moto.url);
  ec2 = new EC2Client(moto.clientOptions);
  efs = new EFSClient(moto.clientOptions);
  const [{ SubnetId, VpcId }] = (await ec2.send(new DescribeSubnetsCommand({}))).Subnets!;
  const group = { GroupName: 'store', Description: 'store', VpcId };
  const { GroupId } = await ec2.send(new CreateSecurityGroupCommand(group));
  image = (await ec2.send(new DescribeImagesCommand({}))).Images![0].ImageId!;
  const { LaunchTemplate } = await ec2.send(
    new CreateLaunchTemplateCommand({
      LaunchTemplateName: 'check',
      LaunchTemplateData: { ImageId: image, InstanceType: 'm7g.large' },
    }),
  );
  Object.assign(process.env, {
    AWS_REGION: 'eu-central-1',
    AWS_ACCESS_KEY_ID: 'test',
    AWS_SECRET_ACCESS_KEY: 'test',
    AWS_ENDPOINT_URL: proxy.url,
    AWS_MAX_ATTEMPTS: '1', // Lambda repeats events
    STORE_ID: await fileSystem(),
    CLUSTER: 'a-cluster',
    LAUNCH_TEMPLATE_ID: LaunchTemplate!.LaunchTemplateId,
    LAUNCH_TEMPLATE_VERSION: '1',
    SUBNET_ID: SubnetId,
    STORE_SECURITY_GROUP_ID: GroupId,
  });
  ({ handler } = await import('../../handlers/restore-check'));
}, 90_000);

afterAll(async () => {
  process.env = saved;
  ec2?.destroy();
  efs?.destroy();
  await proxy?.stop();
  await moto?.stop();
});

beforeEach(() => {
  validations = {};
  logged = '';
  jest.spyOn(process.stdout, 'write').mockImplementation((line) => ((logged += String(line)), true));
  proxy.behave(backup);
});
afterEach(() => jest.restoreAllMocks());

function backup({ method, path }: ProxiedRequest): Fate {
  const [, job, validation] = /^\/restore-jobs\/([^/]+)(\/validations)?$/.exec(path) ?? [];
  if (job === undefined) return 'pass';
  if (validation && method === 'PUT') validations[job] = 'FAILED';
  return {
    status: validation ? 204 : 200,
    body: validation ? '' : JSON.stringify({ ValidationStatus: validations[job] }),
  };
}

async function fileSystem(): Promise<string> {
  return (await efs.send(new CreateFileSystemCommand({ CreationToken: randomUUID() }))).FileSystemId!;
}

const arnOf = (id: string) => `arn:aws:elasticfilesystem:eu-central-1:123456789012:file-system/${id}`;

const restored = (restoreJobId: string, id: string) =>
  handler({ 'detail-type': 'Restore Job State Change', detail: { restoreJobId, createdResourceArn: arnOf(id) } });

const ended = (instance: string) =>
  handler({ 'detail-type': 'EC2 Instance State-change Notification', detail: { 'instance-id': instance } });

async function machines(job: string): Promise<Instance[]> {
  const Filters = [{ Name: 'tag:mail-platform:restore-job', Values: [job] }];
  const { Reservations = [] } = await ec2.send(new DescribeInstancesCommand({ Filters }));
  return Reservations.flatMap(({ Instances = [] }) => Instances);
}

async function mountTargets(FileSystemId: string) {
  return (await efs.send(new DescribeMountTargetsCommand({ FileSystemId }))).MountTargets!;
}

test('a restored file system gets a mount target, and one machine that ends itself', async () => {
  const [job, copy] = [randomUUID(), await fileSystem()];
  await restored(job, copy);
  await restored(job, copy);
  const [machine, ...others] = await machines(job);
  expect(others).toEqual([]);
  expect(machine).toMatchObject({ SubnetId: process.env.SUBNET_ID, InstanceType: 'm7g.large' });
  const tags = Object.fromEntries(machine.Tags!.map(({ Key, Value }) => [Key, Value]));
  expect(tags).toMatchObject({ 'mail-platform:restore-job': job, 'mail-platform:restored': copy });
  expect(await mountTargets(copy)).toMatchObject([{ SubnetId: process.env.SUBNET_ID }]);
});

test('when the machine has ended with a result, the mount target goes and the result stays', async () => {
  const [job, copy] = [randomUUID(), await fileSystem()];
  await restored(job, copy);
  validations[job] = 'SUCCESSFUL';
  const [{ InstanceId }] = await machines(job);
  await ended(InstanceId!);
  expect(await mountTargets(copy)).toEqual([]);
  expect(validations[job]).toBe('SUCCESSFUL');
  expect(logged).not.toContain('RestoreCheckPassed');
});

test('when it has ended without one, the check has failed', async () => {
  const [job, copy] = [randomUUID(), await fileSystem()];
  await restored(job, copy);
  const [{ InstanceId }] = await machines(job);
  await ended(InstanceId!);
  expect(validations[job]).toBe('FAILED');
  const metric = logged.split('\n').find((line) => line.includes('RestoreCheckPassed'))!;
  expect(JSON.parse(metric)).toMatchObject({ Cluster: 'a-cluster', RestoreCheckPassed: 0, restoreJobId: job });
  expect(await mountTargets(copy)).toEqual([]);
});

test('the end of other machines, or of none that is known, is nothing', async () => {
  const run = { ImageId: image, MinCount: 1, MaxCount: 1 };
  const { Instances } = await ec2.send(new RunInstancesCommand(run));
  await ended(Instances![0].InstanceId!);
  await ended('i-0123456789abcdef0');
  expect(proxy.seen.every(({ path }) => !path.includes('restore-jobs'))).toBe(true);
});

test.each(['cut', 'lose answer'] as const)(
  'with any request that fails (%s), a repeated event ends the same',
  async (fate) => {
    const count = async (work: () => Promise<void>) => {
      proxy.behave(backup);
      await work();
      return proxy.seen.length;
    };
    const probe = [randomUUID(), await fileSystem()] as const;
    const begins = await count(() => restored(...probe));
    const ends = await count(async () => ended((await machines(probe[0]))[0].InstanceId!));
    expect([begins, ends]).toEqual([3, 5]);
    const failAt = (failing: number) => (asked: ProxiedRequest) => {
      const answer = backup(asked);
      return asked.number === failing ? (answer === 'pass' ? fate : 'cut') : answer;
    };
    for (let failing = 1; failing <= Math.max(begins, ends); failing++) {
      const [job, copy] = [randomUUID(), await fileSystem()];
      if (failing <= begins) {
        proxy.behave(failAt(failing));
        await expect(restored(job, copy)).rejects.toThrow();
      }
      await restored(job, copy);
      expect(await machines(job)).toHaveLength(1);
      const [{ InstanceId }] = await machines(job);
      proxy.behave(failAt(failing));
      if (failing <= ends) await expect(ended(InstanceId!)).rejects.toThrow();
      await ended(InstanceId!);
      expect(await mountTargets(copy)).toEqual([]);
      expect(validations[job]).toBe('FAILED');
    }
  },
  60_000,
);

test('fails when the file system is the store itself, or none, and touches nothing', async () => {
  for (const id of [process.env.STORE_ID!, 'nothing']) {
    await expect(restored(randomUUID(), id)).rejects.toThrow('a restored file system is expected, got arn:');
  }
  expect(proxy.seen).toEqual([]);
});
