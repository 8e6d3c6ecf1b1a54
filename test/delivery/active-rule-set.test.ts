import {
  CreateReceiptRuleSetCommand,
  DeleteReceiptRuleSetCommand,
  DescribeActiveReceiptRuleSetCommand,
  SESClient,
  SetActiveReceiptRuleSetCommand,
} from '@aws-sdk/client-ses';
import type { CloudFormationCustomResourceEvent } from 'aws-lambda';
import { handler } from '../../handlers/active-rule-set';
import { CloudFormationEnd, startCloudFormationEnd } from '../support/cloudformation';
import { FaultyProxy, startFaultyProxy } from '../support/faulty-proxy';
import { MotoServer, startMotoServer } from '../support/moto-server';

let moto: MotoServer;
let proxy: FaultyProxy;
let ses: SESClient;
let cloudFormation: CloudFormationEnd;
let logged: string;
const saved = { ...process.env };

beforeAll(async () => {
  moto = await startMotoServer();
  proxy = await startFaultyProxy(moto.url);
  ses = new SESClient(moto.clientOptions);
  cloudFormation = await startCloudFormationEnd();
  Object.assign(process.env, {
    AWS_REGION: 'eu-central-1',
    AWS_ACCESS_KEY_ID: 'testing',
    AWS_SECRET_ACCESS_KEY: 'testing',
    AWS_ENDPOINT_URL_SES: proxy.url,
  });
}, 90_000);

afterAll(async () => {
  process.env = saved;
  ses?.destroy();
  cloudFormation?.stop();
  await proxy?.stop();
  await moto?.stop();
});

beforeEach(async () => {
  cloudFormation.reset();
  logged = '';
  for (const method of ['info', 'warn', 'error'] as const) {
    jest.spyOn(console, method).mockImplementation((...parts) => void (logged += `${parts.join(' ')}\n`));
  }
  await setActive(undefined);
  for (const name of ['ours', 'renamed', 'theirs']) {
    await ses.send(new DeleteReceiptRuleSetCommand({ RuleSetName: name }));
    await ses.send(new CreateReceiptRuleSetCommand({ RuleSetName: name }));
  }
  proxy.behave();
});

afterEach(() => {
  jest.restoreAllMocks();
  // Whoever has it can answer CloudFormation in our place.
  expect(logged).not.toContain('signature');
});

describe('creation', () => {
  test('activates the rule set when none is active', async () => {
    await handler(create('ours'));
    expect(cloudFormation.answers).toEqual([
      expect.objectContaining({ Status: 'SUCCESS', PhysicalResourceId: 'ours' }),
    ]);
    expect(await active()).toBe('ours');
  });

  test('is done once when CloudFormation repeats the request', async () => {
    const request = create('ours');
    await handler(request);
    await handler(request);
    expect(outcomes()).toEqual([
      ['SUCCESS', 'ours'],
      ['SUCCESS', 'ours'],
    ]);
    // Two looks, one activation.
    expect(proxy.seen).toHaveLength(3);
  });

  test('fails when another stack has its own active, names that one and leaves it', async () => {
    await setActive('theirs');
    await handler(create('ours'));
    expect(cloudFormation.answers).toEqual([
      expect.objectContaining({
        Status: 'FAILED',
        Reason:
          'Error: the receipt rule set theirs is active, and there can be only one in an account and region; ours was not ' +
          'activated. Add rules to theirs instead, deactivate it, or set takeOver',
      }),
    ]);
    expect(await active()).toBe('theirs');
  });

  test('takes over when it is told to', async () => {
    await setActive('theirs');
    await handler(create('ours', 'true'));
    expect(outcomes()).toEqual([['SUCCESS', 'ours']]);
    expect(await active()).toBe('ours');
    expect(logged).toContain('"replaced":"theirs"');
  });

  test('fails when the rule set does not exist, and what is active stays', async () => {
    await handler(create('missing'));
    expect(cloudFormation.answers).toEqual([
      expect.objectContaining({ Status: 'FAILED', Reason: expect.stringMatching(/^RuleSetDoesNotExist.*missing/) }),
    ]);
    expect(await active()).toBeUndefined();
  });

  test('fails when the property is missing', async () => {
    await handler(create(''));
    expect(cloudFormation.answers).toEqual([
      expect.objectContaining({
        Status: 'FAILED',
        Reason: 'Error: RuleSetName must be the name of a receipt rule set, got ""',
      }),
    ]);
    expect(proxy.seen).toEqual([]);
    // Or the stack could not be rolled back.
    await handler(remove('', 'Active'));
    expect(outcomes()[1]).toEqual(['SUCCESS', 'Active']);
  });

  test('goes on when SES throttles', async () => {
    proxy.behave(({ number }) => (number <= 3 ? throttled : 'pass'));
    await handler(create('ours'));
    expect(outcomes()).toEqual([['SUCCESS', 'ours']]);
    expect(await active()).toBe('ours');
    // Before its n-th new attempt the SDK waits up to 0.5 s × 2ⁿ when it was throttled.
  }, 30_000);

  test('is not done twice when the answer of SES is lost', async () => {
    proxy.behave(({ number }) => (number === 2 ? 'lose answer' : 'pass'));
    await handler(create('ours'));
    expect(outcomes()).toEqual([['SUCCESS', 'ours']]);
    expect(await active()).toBe('ours');
  });
});

describe('update', () => {
  test('to another name replaces ours, and the deletion of the former one leaves the new one', async () => {
    await handler(create('ours'));
    await handler(update('ours', 'renamed'));
    // CloudFormation deletes the former physical id once the update is complete.
    await handler(remove('ours'));
    expect(outcomes()).toEqual([
      ['SUCCESS', 'ours'],
      ['SUCCESS', 'renamed'],
      ['SUCCESS', 'ours'],
    ]);
    expect(await active()).toBe('renamed');
  });

  test('that is rolled back activates the former one again', async () => {
    await handler(create('ours'));
    await handler(update('ours', 'renamed'));
    await handler(update('renamed', 'ours'));
    await handler(remove('renamed'));
    expect(await active()).toBe('ours');
  });

  test('fails when somebody else activated another one meanwhile; its rollback leaves that one and succeeds', async () => {
    await handler(create('ours'));
    await setActive('theirs');
    await handler(update('ours', 'renamed'));
    await handler({ ...update('ours', 'ours'), OldResourceProperties: { RuleSetName: 'renamed' } } as never);
    expect(outcomes()).toEqual([
      ['SUCCESS', 'ours'],
      ['FAILED', 'ours'],
      ['SUCCESS', 'ours'],
    ]);
    expect(cloudFormation.answers[1].Reason).toContain('rule set theirs is active');
    expect(logged).toContain('it is left as it is');
    expect(await active()).toBe('theirs');
  });

  test('to takeOver gets the place back', async () => {
    await handler(create('ours'));
    await setActive('theirs');
    await handler(update('ours', 'ours', 'true'));
    expect(await active()).toBe('ours');
  });

  test('activates again what somebody deactivated', async () => {
    await handler(create('ours'));
    await setActive(undefined);
    await handler(update('ours', 'ours'));
    expect(await active()).toBe('ours');
  });
});

describe('deletion', () => {
  test('deactivates, so that the rule set can be deleted, and may come twice', async () => {
    await handler(create('ours'));
    await handler(remove('ours'));
    await handler(remove('ours'));
    expect(await active()).toBeUndefined();
    await ses.send(new DeleteReceiptRuleSetCommand({ RuleSetName: 'ours' }));
    expect(cloudFormation.answers.map(({ Status }) => Status)).toEqual(['SUCCESS', 'SUCCESS', 'SUCCESS']);
  });

  test('leaves a rule set that somebody else activated meanwhile', async () => {
    await handler(create('ours'));
    await setActive('theirs');
    await handler(remove('ours'));
    expect(outcomes()).toEqual([
      ['SUCCESS', 'ours'],
      ['SUCCESS', 'ours'],
    ]);
    expect(await active()).toBe('theirs');
  });

  test('of a creation that failed on a conflict leaves the other one', async () => {
    await setActive('theirs');
    await handler(create('ours'));
    await handler(remove('ours', cloudFormation.answers[0].PhysicalResourceId));
    expect(outcomes()).toEqual([
      ['FAILED', 'Active'],
      ['SUCCESS', 'Active'],
    ]);
    expect(await active()).toBe('theirs');
  });

  test('of a creation whose answer CloudFormation never got deactivates what it had activated', async () => {
    cloudFormation.status = 503;
    await expect(handler(create('ours'))).rejects.toThrow('HTTP 503');
    expect(await active()).toBe('ours');
    cloudFormation.status = 200;
    await handler(remove('ours', 'Test-Active-1ABCDEFGHIJ'));
    expect(await active()).toBeUndefined();
  });

  test('fails when SES refuses, and what is active stays', async () => {
    await handler(create('ours'));
    proxy.behave(() => denied);
    await handler(remove('ours'));
    expect(cloudFormation.answers[1]).toMatchObject({
      Status: 'FAILED',
      Reason: expect.stringContaining('not authorized'),
    });
    expect(await active()).toBe('ours');
  });
});

const throttled = error('Throttling', 'Rate exceeded');
const denied = { ...error('AccessDenied', 'User is not authorized to perform it'), status: 403 };

/** As SES writes it (AWS query protocol). */
function error(code: string, message: string): { status: number; body: string } {
  return {
    status: 400,
    body:
      '<ErrorResponse xmlns="http://ses.amazonaws.com/doc/2010-12-01/"><Error><Type>Sender</Type>' +
      `<Code>${code}</Code><Message>${message}</Message></Error><RequestId>1</RequestId></ErrorResponse>`,
  };
}

async function setActive(name: string | undefined): Promise<void> {
  await ses.send(new SetActiveReceiptRuleSetCommand({ RuleSetName: name }));
}

async function active(): Promise<string | undefined> {
  return (await ses.send(new DescribeActiveReceiptRuleSetCommand({}))).Metadata?.Name;
}

function outcomes(): [string, string][] {
  return cloudFormation.answers.map(({ Status, PhysicalResourceId }) => [Status, PhysicalResourceId]);
}

function create(name: string, takeOver?: string): CloudFormationCustomResourceEvent {
  return event('Create', { name, takeOver });
}

function update(physicalId: string, name: string, takeOver?: string): CloudFormationCustomResourceEvent {
  return event('Update', { name, physicalId, takeOver });
}

function remove(name: string, physicalId = name): CloudFormationCustomResourceEvent {
  return event('Delete', { name, physicalId });
}

function event(
  type: 'Create' | 'Update' | 'Delete',
  { name, physicalId, takeOver = 'false' }: { name: string; physicalId?: string; takeOver?: string },
): CloudFormationCustomResourceEvent {
  return {
    RequestType: type,
    ServiceToken: 'function',
    ResponseURL: cloudFormation.url,
    StackId: 'stack',
    RequestId: 'request',
    LogicalResourceId: 'Active',
    ResourceType: 'Custom::ActiveReceiptRuleSet',
    ResourceProperties: { ServiceToken: 'function', RuleSetName: name, TakeOver: takeOver },
    ...(physicalId !== undefined && { PhysicalResourceId: physicalId }),
    ...(type === 'Update' && { OldResourceProperties: { RuleSetName: physicalId } }),
  } as CloudFormationCustomResourceEvent;
}
