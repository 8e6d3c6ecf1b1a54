import { ArnFormat, CustomResource, Duration, RemovalPolicy, Stack, Token } from 'aws-cdk-lib';
import { ComparisonOperator, Metric, MetricOptions, Stats, TreatMissingData } from 'aws-cdk-lib/aws-cloudwatch';
import { ISecurityGroup, IVpc, Port, SecurityGroup, SubnetSelection } from 'aws-cdk-lib/aws-ec2';
import { Grant, IGrantable, PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import {
  AuroraPostgresEngineVersion,
  ClusterInstance,
  Credentials,
  DatabaseCluster,
  DatabaseClusterEngine,
  Endpoint,
  ParameterGroup,
} from 'aws-cdk-lib/aws-rds';
import { ITopic } from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';
import { acknowledge } from '../compliance';
import { NodeConfiguration } from '../node/node-configuration';
import { HandlerFunction } from '../private/handler-function';
import { createBucketKey } from '../private/private-bucket';
import { inRegulatoryPacks } from '../private/rule-packs';
import { addTopicAlarm } from '../private/topic-alarm';
import { migrationsDigest } from './migrations-digest';
import { IMailDirectory } from './mail-directory';

const DATABASE = 'mail';
/** Roles of the database (assets/directory/migrations/0002-roles.sql). */
const NODE_ROLE = 'mail_node';
const EDITOR_ROLE = 'mail_editor';
/** Not PostgreSQL's own, which whoever looks for databases tries first. */
const PORT = 5433;

/** Options of `MailDirectory.aurora`. */
export interface AuroraDirectoryOptions {
  /**
   * Least and most capacity of each of the two instances, in Aurora capacity units of 2 GiB: halves from 0.5 to 256.
   * @default 0.5
   */
  readonly minCapacity?: number;

  /** @default 4 */
  readonly maxCapacity?: number;

  /**
   * How long automatic backups are kept, 1 to 35 days.
   * @default Duration.days(35)
   */
  readonly backupRetention?: Duration;

  /**
   * For how long nodes that don't hear from the database let people in from their own copy; after that logins fail for the moment, mail
   * is still taken. Minutes, 10 at least.
   * @default Duration.hours(24)
   */
  readonly staleAfter?: Duration;

  /**
   * Replication lag above which the alarm goes off.
   * @default Duration.seconds(5)
   */
  readonly lagAlarm?: Duration;
}

/** Properties of `AuroraDirectory`. */
export interface AuroraDirectoryProps extends AuroraDirectoryOptions {
  /** Network of the nodes. */
  readonly vpc: IVpc;

  /** Subnets of the database, in two zones or more; they need no way out. */
  readonly databaseSubnets: SubnetSelection;

  /** Subnets of the function that makes the schema; it needs a way to Secrets Manager. */
  readonly nodeSubnets: SubnetSelection;

  /** Security group of the nodes, which alone may connect. */
  readonly nodeSecurityGroup: ISecurityGroup;

  /** Mail domains, which the directory knows from the start. */
  readonly domains: string[];

  /**
   * Key for the database, its backups, its secret and logs.
   * @default - a new key with yearly rotation
   */
  readonly encryptionKey?: IKey;
}

/**
 * Users in Aurora PostgreSQL (Serverless v2): a writer and a reader in two zones, encrypted, TLS only, kept when the stack is deleted.
 * Nodes read from the reader by a role that can read the users file and nothing else, `mail-users` writes; both log in with tokens of
 * IAM. The owner's password is RDS's business, which changes it each week. docs/directory.md.
 *
 * @throws when capacity, retention or times are out of bounds, or there are fewer than two zones
 */
export class AuroraDirectory extends Construct implements IMailDirectory {
  public readonly cluster: DatabaseCluster;
  public readonly encryptionKey: IKey;
  public readonly location: string;
  /** Where changes go; nodes ask the reader. */
  public readonly databaseEndpoint: Endpoint;
  public readonly configuration: NodeConfiguration;

  private readonly lagAlarm: Duration;
  private readonly maxCapacity: number;

  constructor(scope: Construct, id: string, props: AuroraDirectoryProps) {
    super(scope, id);
    const staleAfter = props.staleAfter ?? Duration.hours(24);
    this.lagAlarm = props.lagAlarm ?? Duration.seconds(5);
    this.maxCapacity = props.maxCapacity ?? 4;
    checkProps(props, staleAfter, this.lagAlarm);

    this.encryptionKey = props.encryptionKey ?? createBucketKey(this, 'Key', 'Mail directory');
    this.cluster = this.createCluster(props);
    this.cluster.connections.allowFrom(props.nodeSecurityGroup, Port.tcp(PORT), 'directory from nodes');
    const schema = this.createSchema(props);
    this.databaseEndpoint = new Endpoint(this.cluster.clusterEndpoint.hostname, PORT);
    this.location = `postgres://${EDITOR_ROLE}@${this.cluster.clusterEndpoint.hostname}:${PORT}/${DATABASE}`;
    this.configuration = {
      environment: {
        MAIL_DIRECTORY: 'sql',
        MAIL_DIRECTORY_HOST: this.cluster.clusterReadEndpoint.hostname,
        MAIL_DIRECTORY_PORT: `${PORT}`,
        MAIL_DIRECTORY_DATABASE: DATABASE,
        MAIL_DIRECTORY_STALE_AFTER: `${staleAfter.toSeconds()}`,
        // Nodes come after the schema, without which they would not start.
        MAIL_DIRECTORY_SCHEMA: schema.ref,
      },
      statements: [
        new PolicyStatement({
          sid: 'ReadDirectory',
          actions: ['rds-db:connect'],
          resources: [this.roleArn(NODE_ROLE)],
        }),
      ],
    };
  }

  /** Lets a principal log in to the database as the role of `mail-users`, by a token. The way there is another matter: docs/directory.md. */
  public grantEdit(grantee: IGrantable): Grant {
    return Grant.addToPrincipal({
      grantee,
      actions: ['rds-db:connect'],
      resourceArns: [this.roleArn(EDITOR_ROLE)],
    });
  }

  /** How far the reader, which nodes ask, is behind; milliseconds. */
  public metricReplicaLag(options?: MetricOptions): Metric {
    return this.cluster.metric('AuroraReplicaLag', {
      statistic: Stats.MAXIMUM,
      period: Duration.minutes(1),
      ...options,
    });
  }

  /** Share of `maxCapacity` in use, percent. */
  public metricCapacityUsed(options?: MetricOptions): Metric {
    return this.cluster.metric('ACUUtilization', { statistic: Stats.MAXIMUM, period: Duration.minutes(5), ...options });
  }

  /** Connections. */
  public metricConnections(options?: MetricOptions): Metric {
    return this.cluster.metricDatabaseConnections({
      statistic: Stats.MAXIMUM,
      period: Duration.minutes(5),
      ...options,
    });
  }

  public addAlarms(topic: ITopic): void {
    addTopicAlarm(this, 'Lag', topic, {
      metric: this.metricReplicaLag(),
      threshold: this.lagAlarm.toMilliseconds(),
      evaluationPeriods: 3,
      comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
      treatMissingData: TreatMissingData.NOT_BREACHING,
      alarmDescription:
        `The reader that nodes ask for users has been more than ${this.lagAlarm.toSeconds()} s behind for 3 minutes: changes come to ` +
        'nodes that much later. Check first: a large import that is being written, then ACUUtilization of both instances, then ' +
        'the events of the cluster.',
    });
    addTopicAlarm(this, 'Capacity', topic, {
      metric: this.metricCapacityUsed(),
      threshold: 80,
      evaluationPeriods: 3,
      comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
      treatMissingData: TreatMissingData.NOT_BREACHING,
      alarmDescription:
        `The directory has used more than 80 % of its ${this.maxCapacity} capacity units for 15 minutes. Check first: Performance ` +
        'Insights for what is asked; nodes ask once a minute and take seconds. Raise maxCapacity if the load is real.',
    });
    addTopicAlarm(this, 'Connections', topic, {
      metric: this.metricConnections(),
      threshold: 80,
      evaluationPeriods: 3,
      comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
      treatMissingData: TreatMissingData.NOT_BREACHING,
      alarmDescription:
        'More than 80 connections to the directory for 15 minutes: a node has one for some seconds of each minute, and may have ' +
        'no more than 100 with all others. Check first: pg_stat_activity for who they are, and queries that hang.',
    });
    addTopicAlarm(this, 'Silent', topic, {
      metric: this.metricConnections({ statistic: Stats.SAMPLE_COUNT }),
      threshold: 1,
      evaluationPeriods: 3,
      comparisonOperator: ComparisonOperator.LESS_THAN_THRESHOLD,
      treatMissingData: TreatMissingData.BREACHING,
      alarmDescription:
        'The database has told nothing of itself for 15 minutes. People log in from the copies that nodes have. Check first: state ' +
        'and events of the cluster in the RDS console, then `systemctl status mail-directory-sync` on a node.',
    });
  }

  private roleArn(role: string): string {
    return Stack.of(this).formatArn({
      service: 'rds-db',
      resource: 'dbuser',
      arnFormat: ArnFormat.COLON_RESOURCE_NAME,
      resourceName: `${this.cluster.clusterResourceIdentifier}/${role}`,
    });
  }

  private createCluster(props: AuroraDirectoryProps): DatabaseCluster {
    const { vpc, databaseSubnets } = props;
    const securityGroup = new SecurityGroup(this, 'SecurityGroup', {
      vpc,
      description: 'Mail directory',
      allowAllOutbound: false,
    });
    const engine = DatabaseClusterEngine.auroraPostgres({ version: AuroraPostgresEngineVersion.VER_17_9 });
    const cluster = new DatabaseCluster(this, 'Cluster', {
      engine,
      parameterGroup: new ParameterGroup(this, 'Parameters', {
        engine,
        description: 'Mail directory: TLS only, logs of connections and changes of the schema',
        parameters: { 'rds.force_ssl': '1', log_connections: '1', log_disconnections: '1', log_statement: 'ddl' },
      }),
      writer: ClusterInstance.serverlessV2('Writer', INSTANCE),
      // As large as the writer, so that it can take over at once.
      readers: [ClusterInstance.serverlessV2('Reader', { ...INSTANCE, scaleWithWriter: true })],
      serverlessV2MinCapacity: props.minCapacity ?? 0.5,
      serverlessV2MaxCapacity: this.maxCapacity,
      vpc,
      vpcSubnets: databaseSubnets,
      securityGroups: [securityGroup],
      port: PORT,
      defaultDatabaseName: DATABASE,
      credentials: Credentials.fromUsername('mail_owner', { encryptionKey: this.encryptionKey }),
      manageMasterUserPassword: true,
      iamAuthentication: true,
      storageEncrypted: true,
      storageEncryptionKey: this.encryptionKey,
      backup: { retention: props.backupRetention ?? Duration.days(35) },
      copyTagsToSnapshot: true,
      deletionProtection: true,
      removalPolicy: RemovalPolicy.RETAIN,
      cloudwatchLogsExports: ['postgresql'],
      monitoringInterval: Duration.minutes(1),
    });
    acknowledge(cluster, {
      id: `AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole]`,
      reason:
        'RDS alone takes this role, to write figures of the machines to its own log group RDSOSMetrics; the policy lets it do that and ' +
        'nothing else, and AWS keeps it in step with the service (test/directory/aurora-directory.test.ts).',
    });
    acknowledge(
      cluster,
      ...inRegulatoryPacks('RDSInBackupPlan').map((id) => ({
        id,
        reason:
          'Backups of Aurora are those of the cluster, to any second of the last 35 days (backupRetention), not of its instances ' +
          '(test/directory/aurora-directory.test.ts).',
      })),
    );
    return cluster;
  }

  /** Has a function bring the schema up to date, when the cluster is new and whenever there is a new migration. */
  private createSchema({ vpc, nodeSubnets, domains, encryptionKey }: AuroraDirectoryProps): CustomResource {
    const securityGroup = new SecurityGroup(this, 'SchemaSecurityGroup', {
      vpc,
      description: 'Makes the schema of the mail directory',
      allowAllOutbound: false,
    });
    securityGroup.connections.allowToAnyIpv4(Port.tcp(443), 'Secrets Manager and CloudFormation');
    this.cluster.connections.allowFrom(securityGroup, Port.tcp(PORT), 'schema');
    const secret = this.cluster.secret!;
    const handler = new HandlerFunction(this, 'SchemaHandler', {
      handler: 'directory-schema',
      description: 'Makes the schema of the mail directory',
      encryptionKey,
      vpc,
      vpcSubnets: nodeSubnets,
      securityGroups: [securityGroup],
      statements: [
        new PolicyStatement({ actions: ['secretsmanager:GetSecretValue'], resources: [secret.secretArn] }),
        new PolicyStatement({
          actions: ['kms:Decrypt'],
          resources: [this.encryptionKey.keyArn],
          conditions: {
            StringEquals: {
              'kms:ViaService': `secretsmanager.${Stack.of(this).region}.${Stack.of(this).urlSuffix}`,
            },
          },
        }),
      ],
      timeout: Duration.minutes(5),
    });
    const schema = new CustomResource(this, 'Schema', {
      resourceType: 'Custom::MailDirectorySchema',
      serviceToken: handler.function.functionArn,
      serviceTimeout: Duration.minutes(6),
      properties: {
        Host: this.cluster.clusterEndpoint.hostname,
        Port: `${PORT}`,
        Database: DATABASE,
        SecretArn: secret.secretArn,
        Domains: domains,
        Migrations: migrationsDigest(),
      },
    });
    schema.node.addDependency(this.cluster, securityGroup);
    return schema;
  }
}

const INSTANCE = {
  autoMinorVersionUpgrade: true,
  publiclyAccessible: false,
  enablePerformanceInsights: true,
};

function checkProps(props: AuroraDirectoryProps, staleAfter: Duration, lagAlarm: Duration): void {
  const { minCapacity = 0.5, maxCapacity = 4, backupRetention, vpc, databaseSubnets } = props;
  for (const [name, value] of Object.entries({ minCapacity, maxCapacity })) {
    if (!Token.isUnresolved(value) && (value < 0.5 || value > 256 || !Number.isInteger(value * 2))) {
      throw new Error(`${name} must be 0.5 to 256 in steps of 0.5, got ${value}`);
    }
  }
  if (!Token.isUnresolved(maxCapacity) && !Token.isUnresolved(minCapacity) && maxCapacity < minCapacity) {
    throw new Error(`maxCapacity must be >= minCapacity (${minCapacity}), got ${maxCapacity}; raise maxCapacity`);
  }
  const days = backupRetention?.toDays({ integral: false }) ?? 35;
  if (!Number.isInteger(days) || days < 1 || days > 35) {
    throw new Error(`backupRetention must be 1 to 35 whole days, got ${days} days`);
  }
  const minutes = staleAfter.toMinutes({ integral: false });
  if (!Number.isInteger(minutes) || minutes < 10) {
    throw new Error(`staleAfter must be whole minutes, 10 or more, got ${minutes}; nodes ask once a minute`);
  }
  if (lagAlarm.toMilliseconds() <= 0) {
    throw new Error('lagAlarm must be more than 0 seconds, got 0');
  }
  const zones = vpc.selectSubnets(databaseSubnets).availabilityZones;
  if (new Set(zones).size < 2) {
    throw new Error(`databaseSubnets must be in two zones or more, got ${zones.length}; choose others`);
  }
}
