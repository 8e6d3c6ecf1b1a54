import { Duration, Size, Stack } from 'aws-cdk-lib';
import { ComparisonOperator, Metric, MetricOptions, Stats, TreatMissingData } from 'aws-cdk-lib/aws-cloudwatch';
import { InstanceType, ISecurityGroup, ISubnet, LaunchTemplate } from 'aws-cdk-lib/aws-ec2';
import { EventPattern, Rule } from 'aws-cdk-lib/aws-events';
import { LambdaFunction } from 'aws-cdk-lib/aws-events-targets';
import { Effect, ManagedPolicy, PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { ITopic } from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';
import type { MailJournal } from '../archive';
import { acknowledge, findingId } from '../compliance';
import { METRIC_NAMESPACE } from '../node/fleet-metrics';
import { MailBundle } from '../node/mail-bundle';
import { NodeTemplate } from '../node/node-template';
import { HandlerFunction } from '../private/handler-function';
import { addTopicAlarm } from '../private/topic-alarm';
import { anyFileSystem } from './backup-rights';

/** Longest time of a check; the machine ends then, and AWS Backup leaves the file system for 4 hours. */
const LIFETIME = Duration.minutes(180);

/** Properties of `RestoreCheck`. */
export interface RestoreCheckProps {
  /** ARN of the restore testing plan whose restores are checked. */
  readonly restoreTestingPlanArn: string;

  /** The store, which is never touched. */
  readonly store: { readonly storeId: string; readonly storeArn: string };

  /** Files of the nodes, and their environment. */
  readonly bundle: MailBundle;
  readonly environment: { [key: string]: string };

  /** Where the machine and the mount target are; a way out to AWS and to Debian's mirror. */
  readonly subnet: ISubnet;

  /** Security groups of the machine and of the mount target. */
  readonly securityGroup: ISecurityGroup;
  readonly storeSecurityGroup: ISecurityGroup;

  /** To read the users object, which says whose mail was erased. */
  readonly directoryStatements: PolicyStatement[];

  /**
   * Where digests of messages are recorded.
   * @default - none, and integrity is not checked
   */
  readonly journal?: MailJournal;

  /** Key of the machine's disk and of the function's logs. */
  readonly encryptionKey: IKey;

  /** Name of the cluster, which results are told by. */
  readonly clusterName: string;

  /**
   * Type of the machine.
   * @default m7g.large
   */
  readonly instanceType?: InstanceType;
}

/**
 * The three-stage check of what AWS Backup's restore test restored: a machine with rights of its own, started by a function when the
 * restore is complete, which ends itself; and the function again, which cleans up (docs/backup.md).
 */
export class RestoreCheck extends Construct {
  /** Of the machine. */
  public readonly role: Role;
  /** Of the machine that looks at what was restored. */
  public readonly launchTemplate: LaunchTemplate;

  private readonly handler: HandlerFunction;

  constructor(scope: Construct, id: string, props: RestoreCheckProps) {
    super(scope, id);
    this.role = this.createRole(props);
    this.launchTemplate = new NodeTemplate(this, 'Machine', {
      instanceType: props.instanceType ?? new InstanceType('m7g.large'),
      environment: props.environment,
      bundle: props.bundle,
      role: this.role,
      securityGroup: props.securityGroup,
      rootVolumeSize: Size.gibibytes(20),
      encryptionKey: props.encryptionKey,
      script: 'libexec/check-restored',
      lifetime: LIFETIME,
      metadataTags: true,
    }).launchTemplate;
    this.handler = this.createHandler(props);
    this.callOn('Restored', 'A restore test of the mail store is complete', {
      source: ['aws.backup'],
      detailType: ['Restore Job State Change'],
      detail: {
        status: ['COMPLETED'],
        resourceType: ['EFS'],
        restoreTestingPlanArn: [props.restoreTestingPlanArn],
      },
    });
    this.callOn('Ended', 'A machine has ended, perhaps one that checks a restored mail store', {
      source: ['aws.ec2'],
      detailType: ['EC2 Instance State-change Notification'],
      detail: { state: ['terminated'] },
    });
  }

  /** Calls of the function that failed. Sum. */
  public metricFailures(options?: MetricOptions): Metric {
    return this.handler.function.metricErrors({ statistic: Stats.SUM, period: Duration.hours(1), ...options });
  }

  /**
   * Adds the alarm `NotStarted`; what came of checks is told by `MailBackup`.
   *
   * @param topic where it goes
   */
  public addAlarms(topic: ITopic): void {
    addTopicAlarm(this, 'NotStarted', topic, {
      metric: this.metricFailures(),
      threshold: 1,
      comparisonOperator: ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
      treatMissingData: TreatMissingData.NOT_BREACHING,
      alarmDescription:
        'The check of a restored mail store could not be started, or not be cleaned up. Check first: the log of the function ' +
        'for what AWS refused, then mount targets and machines with the tag mail-platform:restore-job that are left.',
    });
  }

  private createRole({ bundle, directoryStatements, journal }: RestoreCheckProps): Role {
    const role = new Role(this, 'Role', {
      assumedBy: new ServicePrincipal('ec2.amazonaws.com'),
      description: 'Checks restored copies of the mail store',
    });
    const policy = new ManagedPolicy(this, 'Policy', {
      description: 'Restore check: bundle, users, journal, results',
      roles: [role],
      statements: [
        ...bundle.statements,
        ...directoryStatements,
        new PolicyStatement({
          sid: 'WriteMetrics',
          actions: ['cloudwatch:PutMetricData'],
          resources: ['*'],
          conditions: { StringEquals: { 'cloudwatch:namespace': METRIC_NAMESPACE } },
        }),
        // AWS Backup has no resource for restore jobs.
        new PolicyStatement({ sid: 'TellResult', actions: ['backup:PutRestoreValidationResult'], resources: ['*'] }),
      ],
    });
    journal?.grantRead(policy);
    acknowledge(policy, {
      id: 'AwsSolutions-IAM5[Resource::*]',
      reason:
        'PutMetricData and PutRestoreValidationResult have no resource in IAM. A condition limits the first to one namespace, ' +
        'the second says what came of a validation and nothing else (test/storage/restore-check.test.ts).',
    });
    return role;
  }

  private createHandler(props: RestoreCheckProps): HandlerFunction {
    const { store, subnet, securityGroup, storeSecurityGroup, clusterName, encryptionKey } = props;
    const { launchTemplateId, latestVersionNumber } = this.launchTemplate;
    const arn = (resource: string, resourceName: string) =>
      Stack.of(this).formatArn({ service: 'ec2', resource, resourceName });
    const made = ['instance', 'volume', 'network-interface'].map((resource) => arn(resource, '*'));
    const template = arn('launch-template', launchTemplateId!);
    const image = `arn:${Stack.of(this).partition}:ec2:${Stack.of(this).region}::image/*`;
    const groups = [securityGroup, storeSecurityGroup].map((group) => arn('security-group', group.securityGroupId));
    const place = [arn('subnet', subnet.subnetId), ...groups];
    const mountTargets = [
      'elasticfilesystem:CreateMountTarget',
      'elasticfilesystem:DeleteMountTarget',
      'elasticfilesystem:DescribeMountTargets',
    ];
    const handler = new HandlerFunction(this, 'Handler', {
      handler: 'restore-check',
      description: 'Starts the check of a restored mail store, and cleans up after it',
      encryptionKey,
      statements: [
        new PolicyStatement({
          sid: 'StartMachine',
          actions: ['ec2:RunInstances'],
          resources: [...made, template, image, ...place],
          conditions: { ArnLike: { 'ec2:LaunchTemplate': template } },
        }),
        new PolicyStatement({
          sid: 'TagMachine',
          actions: ['ec2:CreateTags'],
          resources: [arn('instance', '*')],
          conditions: { StringEquals: { 'ec2:CreateAction': 'RunInstances' } },
        }),
        new PolicyStatement({
          sid: 'GiveRights',
          actions: ['iam:PassRole'],
          resources: [this.role.roleArn],
          conditions: { StringEquals: { 'iam:PassedToService': 'ec2.amazonaws.com' } },
        }),
        new PolicyStatement({ sid: 'MountCopy', actions: mountTargets, resources: [anyFileSystem(this)] }),
        new PolicyStatement({
          sid: 'LeaveStoreAlone',
          effect: Effect.DENY,
          actions: mountTargets,
          resources: [store.storeArn],
        }),
        // EFS makes and deletes the interface of a mount target in the name of who asks for it.
        new PolicyStatement({
          sid: 'MakeInterface',
          actions: ['ec2:CreateNetworkInterface', 'ec2:DeleteNetworkInterface'],
          resources: [arn('network-interface', '*'), ...place],
        }),
        ...this.useKeyOfDisk(encryptionKey),
        new PolicyStatement({
          sid: 'SeeAndTell',
          actions: [
            'backup:DescribeRestoreJob',
            'backup:PutRestoreValidationResult',
            'ec2:DescribeInstances',
            'ec2:DescribeNetworkInterfaces',
            'ec2:DescribeSubnets',
          ],
          resources: ['*'],
        }),
      ],
      environment: {
        STORE_ID: store.storeId,
        CLUSTER: clusterName,
        LAUNCH_TEMPLATE_ID: launchTemplateId!,
        LAUNCH_TEMPLATE_VERSION: latestVersionNumber,
        SUBNET_ID: subnet.subnetId,
        STORE_SECURITY_GROUP_ID: storeSecurityGroup.securityGroupId,
      },
      calls:
        'EventBridge calls this function and Lambda repeats what failed twice, which raises an alarm ' +
        '(test/storage/restore-check-handler.test.ts). It talks to AWS APIs only, over TLS, and reaches no mail.',
    });
    acknowledge(
      handler,
      ...['*', ...made, image, anyFileSystem(this)].map((resource) => ({
        id: findingId(this, 'AwsSolutions-IAM5', 'Resource', resource),
        reason:
          'Machine, disk, interface and restored file system get ids that are not known before; descriptions and restore jobs ' +
          'have no resource. Machines start from the one launch template only, and the store itself is denied ' +
          '(test/storage/restore-check.test.ts).',
      })),
    );
    return handler;
  }

  /** @see https://docs.aws.amazon.com/ebs/latest/userguide/ebs-encryption-requirements.html */
  private useKeyOfDisk(key: IKey): PolicyStatement[] {
    const { region, urlSuffix } = Stack.of(this);
    const viaEc2 = { 'kms:ViaService': `ec2.${region}.${urlSuffix}` };
    return [
      new PolicyStatement({
        sid: 'EncryptDisk',
        actions: [
          'kms:Decrypt',
          'kms:DescribeKey',
          'kms:GenerateDataKeyWithoutPlaintext',
          'kms:ReEncryptFrom',
          'kms:ReEncryptTo',
        ],
        resources: [key.keyArn],
        conditions: { StringEquals: viaEc2 },
      }),
      new PolicyStatement({
        sid: 'LendKeyToDisk',
        actions: ['kms:CreateGrant'],
        resources: [key.keyArn],
        conditions: { StringEquals: viaEc2, Bool: { 'kms:GrantIsForAWSResource': 'true' } },
      }),
    ];
  }

  private callOn(id: string, description: string, eventPattern: EventPattern): void {
    new Rule(this, id, {
      description,
      eventPattern,
      targets: [new LambdaFunction(this.handler.function, { retryAttempts: 2, maxEventAge: Duration.hours(2) })],
    });
  }
}
