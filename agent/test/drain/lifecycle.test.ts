import {
  AutoScalingClient,
  CreateAutoScalingGroupCommand,
  CreateLaunchConfigurationCommand,
  DescribeAutoScalingGroupsCommand,
} from '@aws-sdk/client-auto-scaling';
import { Lifecycle } from '../../src/drain/lifecycle';
import { MotoServer, startMotoServer } from '../../../test/support/moto-server';
import { bodyOf, httpServer, RunningServer } from '../support/servers';

describe('against moto', () => {
  let moto: MotoServer;
  let client: AutoScalingClient;
  beforeAll(async () => {
    moto = await startMotoServer();
    client = new AutoScalingClient(moto.clientOptions);
  }, 30_000);
  afterAll(async () => {
    client?.destroy();
    await moto?.stop();
  });

  test('an instance in service has not reached the hook; one outside of any group never will', async () => {
    const launch = { LaunchConfigurationName: 'node' };
    await client.send(
      new CreateLaunchConfigurationCommand({ ...launch, ImageId: 'ami-12c6146b', InstanceType: 'm7g.large' }),
    );
    const group = { AutoScalingGroupName: 'Nodes', MinSize: 1, MaxSize: 1, AvailabilityZones: ['eu-central-1a'] };
    await client.send(new CreateAutoScalingGroupCommand({ ...launch, ...group }));
    const { AutoScalingGroups } = await client.send(new DescribeAutoScalingGroupsCommand({}));
    const id = AutoScalingGroups![0].Instances![0].InstanceId!;

    const phase = (instance: string) =>
      new Lifecycle({ client, hook: 'drain', instanceId: async () => instance }).phase();
    expect(await phase(id)).toBe('before');
    expect(await phase('i-0000000000000dead')).toBe('over');
  });
});

// moto has no lifecycle actions: this speaks Auto Scaling's query protocol for them.
describe('at the hook', () => {
  let state: string;
  let asked: { [name: string]: string }[];
  let server: RunningServer;
  let client: AutoScalingClient;
  let lifecycle: Lifecycle;
  beforeEach(async () => {
    asked = [];
    server = await httpServer(async (request, response) => {
      const query = Object.fromEntries(new URLSearchParams(await bodyOf(request)));
      asked.push(query);
      const action = query.Action;
      const instance = `<AutoScalingInstances><member><InstanceId>i-1</InstanceId><LifecycleState>${state}</LifecycleState>
        <AutoScalingGroupName>Nodes</AutoScalingGroupName></member></AutoScalingInstances>`;
      response.writeHead(200, { 'content-type': 'text/xml' }).end(
        `<${action}Response xmlns="http://autoscaling.amazonaws.com/doc/2011-01-01/">
          <${action}Result>${action === 'DescribeAutoScalingInstances' ? instance : ''}</${action}Result>
          <ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></${action}Response>`,
      );
    });
    const credentials = { accessKeyId: 'testing', secretAccessKey: 'testing' };
    client = new AutoScalingClient({ endpoint: server.url, region: 'eu-central-1', credentials });
    lifecycle = new Lifecycle({ client, hook: 'drain', instanceId: async () => 'i-1' });
  });
  afterEach(async () => {
    client.destroy();
    await server.stop();
  });

  test.each([
    ['InService', 'before'],
    ['Terminating', 'before'],
    ['Terminating:Wait', 'waiting'],
    ['Terminating:Proceed', 'over'],
    ['Terminated', 'over'],
  ])('%s is %s', async (reported, phase) => {
    state = reported;
    expect(await lifecycle.phase()).toBe(phase);
  });

  test('names group, hook and instance when it asks for time and when it is done', async () => {
    state = 'Terminating:Wait';
    await lifecycle.heartbeat();
    await lifecycle.complete();
    const names = { AutoScalingGroupName: 'Nodes', LifecycleHookName: 'drain', InstanceId: 'i-1' };
    expect(asked).toEqual([
      expect.objectContaining({ Action: 'DescribeAutoScalingInstances', 'InstanceIds.member.1': 'i-1' }),
      expect.objectContaining({ Action: 'RecordLifecycleActionHeartbeat', ...names }),
      expect.objectContaining({ Action: 'CompleteLifecycleAction', LifecycleActionResult: 'CONTINUE', ...names }),
    ]);
  });
});
