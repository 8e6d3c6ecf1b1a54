import { BackupClient, DescribeRestoreJobCommand, PutRestoreValidationResultCommand } from '@aws-sdk/client-backup';
import { DescribeInstancesCommand, EC2Client, EC2ServiceException, RunInstancesCommand } from '@aws-sdk/client-ec2';
import {
  CreateMountTargetCommand,
  DeleteMountTargetCommand,
  DescribeMountTargetsCommand,
  EFSClient,
  FileSystemNotFound,
  MountTargetConflict,
} from '@aws-sdk/client-efs';
import { text } from '../support/environment';
import { log, logMetrics } from '../support/log';

/** AWS Backup has restored a file system for its restore test. */
export interface RestoreEvent {
  readonly 'detail-type': 'Restore Job State Change';
  readonly detail: { readonly restoreJobId: string; readonly createdResourceArn: string };
}

/** A machine of this account, any, has ended. */
export interface InstanceEvent {
  readonly 'detail-type': 'EC2 Instance State-change Notification';
  readonly detail: { readonly 'instance-id': string };
}

/** Tags of a machine that checks; libexec/check-restored reads them. */
const JOB = 'mail-platform:restore-job';
const RESTORED = 'mail-platform:restored';

const backup = new BackupClient({});
const ec2 = new EC2Client({});
const efs = new EFSClient({});

/**
 * Has each file system that AWS Backup's restore test restored checked by a machine of its own, and cleans up when that has ended
 * (docs/backup.md). A file system without a result by then has failed.
 *
 * Environment: `STORE_ID`, which is never touched; `CLUSTER`, `LAUNCH_TEMPLATE_ID`, `LAUNCH_TEMPLATE_VERSION`, `SUBNET_ID`, and
 * `STORE_SECURITY_GROUP_ID` for the mount target.
 *
 * @throws when AWS refuses something; Lambda repeats the event twice, and each step is done once
 */
export async function handler(event: RestoreEvent | InstanceEvent): Promise<void> {
  if (event['detail-type'] === 'Restore Job State Change') {
    await begin(event.detail);
  } else {
    await end(event.detail['instance-id']);
  }
}

async function begin({ restoreJobId, createdResourceArn }: RestoreEvent['detail']): Promise<void> {
  const [fileSystem] = /fs-[0-9a-f]+$/.exec(createdResourceArn) ?? [];
  if (!fileSystem || fileSystem === text('STORE_ID')) {
    throw new Error(`a restored file system is expected, got ${createdResourceArn}`);
  }
  await createMountTarget(fileSystem);
  const filter = { Name: `tag:${JOB}`, Values: [restoreJobId] };
  const { Reservations = [] } = await ec2.send(new DescribeInstancesCommand({ Filters: [filter] }));
  if (Reservations.length > 0) {
    return; // started by an earlier attempt
  }
  const Tags = Object.entries({
    Name: `${text('CLUSTER')} restore check`,
    [JOB]: restoreJobId,
    [RESTORED]: fileSystem,
  }).map(([Key, Value]) => ({ Key, Value }));
  const { Instances = [] } = await ec2.send(
    new RunInstancesCommand({
      ...{ MinCount: 1, MaxCount: 1, ClientToken: restoreJobId, SubnetId: text('SUBNET_ID') },
      LaunchTemplate: { LaunchTemplateId: text('LAUNCH_TEMPLATE_ID'), Version: text('LAUNCH_TEMPLATE_VERSION') },
      InstanceInitiatedShutdownBehavior: 'terminate',
      TagSpecifications: [{ ResourceType: 'instance', Tags }],
    }),
  );
  log({ restoreJobId, fileSystem, instance: Instances[0]?.InstanceId });
}

async function createMountTarget(FileSystemId: string): Promise<void> {
  try {
    await efs.send(
      new CreateMountTargetCommand({
        ...{ FileSystemId, SubnetId: text('SUBNET_ID') },
        SecurityGroups: [text('STORE_SECURITY_GROUP_ID')],
      }),
    );
  } catch (error) {
    if (!(error instanceof MountTargetConflict)) throw error;
  }
}

async function end(instanceId: string): Promise<void> {
  const tags = await tagsOf(instanceId);
  const [restoreJobId, fileSystem] = [tags.get(JOB), tags.get(RESTORED)];
  if (restoreJobId === undefined || fileSystem === undefined || fileSystem === text('STORE_ID')) {
    return; // a node, or somebody else's
  }
  const { ValidationStatus } = await backup.send(new DescribeRestoreJobCommand({ RestoreJobId: restoreJobId }));
  if (!ValidationStatus || ValidationStatus === 'VALIDATING') {
    await backup.send(
      new PutRestoreValidationResultCommand({
        RestoreJobId: restoreJobId,
        ValidationStatus: 'FAILED',
        ValidationStatusMessage: `${instanceId} ended without a result`,
      }),
    );
    const failed = { RestoreCheckPassed: { unit: 'Count', value: 0 } } as const;
    logMetrics({ name: 'Cluster', value: text('CLUSTER') }, failed, { restoreJobId, instanceId });
  }
  // AWS Backup deletes the file system, which can't have any then.
  await deleteMountTargets(fileSystem);
}

async function tagsOf(instanceId: string): Promise<Map<string, string>> {
  try {
    const { Reservations = [] } = await ec2.send(new DescribeInstancesCommand({ InstanceIds: [instanceId] }));
    return new Map(Reservations[0]?.Instances?.[0]?.Tags?.map(({ Key, Value }) => [Key!, Value!]));
  } catch (error) {
    if (error instanceof EC2ServiceException && error.name === 'InvalidInstanceID.NotFound') return new Map();
    throw error;
  }
}

async function deleteMountTargets(FileSystemId: string): Promise<void> {
  try {
    const { MountTargets = [] } = await efs.send(new DescribeMountTargetsCommand({ FileSystemId }));
    for (const { MountTargetId } of MountTargets) await efs.send(new DeleteMountTargetCommand({ MountTargetId }));
  } catch (error) {
    if (!(error instanceof FileSystemNotFound)) throw error;
  }
}
