import { Duration, RemovalPolicy } from 'aws-cdk-lib';
import { ISecurityGroup, IVpc, SubnetSelection } from 'aws-cdk-lib/aws-ec2';
import { ManagedPolicy, PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { Architecture, Code, Function as LambdaFunction, Runtime } from 'aws-cdk-lib/aws-lambda';
import { LogGroup, RetentionDays } from 'aws-cdk-lib/aws-logs';
import { Construct } from 'constructs';
import { acknowledge, findingId } from '../compliance';
import { packagePath } from './package-root';
import { inRegulatoryPacks } from './rule-packs';

/** Properties of `HandlerFunction`. */
export interface HandlerFunctionProps {
  /** Folder below handlers/ that the package's build bundles. */
  readonly handler: string;
  /** What it does, for the console. */
  readonly description: string;
  /** What it may do. */
  readonly statements: PolicyStatement[];
  /**
   * Key of its logs.
   * @default - CloudWatch Logs' own key
   */
  readonly encryptionKey?: IKey;

  /**
   * Its environment.
   * @default - none
   */
  readonly environment?: { [name: string]: string };

  /**
   * Network that it is in, with `vpcSubnets` and `securityGroups`.
   * @default - none
   */
  readonly vpc?: IVpc;

  /** @default - none */
  readonly vpcSubnets?: SubnetSelection;

  /** @default - none */
  readonly securityGroups?: ISecurityGroup[];

  /** @default Duration.minutes(1) */
  readonly timeout?: Duration;

  /**
   * Memory, MiB; CPU comes with it.
   * @default 256
   */
  readonly memorySize?: number;

  /**
   * Who calls it and what happens when it fails: why it needs no VPC, dead-letter queue or reserved concurrency.
   * @default - a custom resource, which CloudFormation calls
   */
  readonly calls?: string;
}

/** What Lambda does by the function's role, so that the function is in a network. */
const NETWORK_INTERFACES = [
  'ec2:AssignPrivateIpAddresses',
  'ec2:CreateNetworkInterface',
  'ec2:DeleteNetworkInterface',
  'ec2:DescribeNetworkInterfaces',
  'ec2:DescribeSubnets',
  'ec2:UnassignPrivateIpAddresses',
];

/** A Lambda function of ours: bundled code, its own managed policy, its own logs. */
export class HandlerFunction extends Construct {
  public readonly function: LambdaFunction;

  public readonly role: Role;

  constructor(scope: Construct, id: string, props: HandlerFunctionProps) {
    super(scope, id);
    const logGroup = new LogGroup(this, 'Logs', {
      encryptionKey: props.encryptionKey,
      retention: RetentionDays.ONE_YEAR,
      removalPolicy: RemovalPolicy.DESTROY,
    });
    this.role = new Role(this, 'Role', {
      description: props.description,
      assumedBy: new ServicePrincipal('lambda.amazonaws.com'),
    });
    const policy = new ManagedPolicy(this, 'Policy', {
      description: props.description,
      roles: [this.role],
      statements: [
        ...props.statements,
        ...(props.vpc
          ? [new PolicyStatement({ sid: 'NetworkInterfaces', actions: NETWORK_INTERFACES, resources: ['*'] })]
          : []),
        new PolicyStatement({
          actions: ['logs:CreateLogStream', 'logs:PutLogEvents'],
          resources: [logGroup.logGroupArn],
        }),
      ],
    });
    this.function = new LambdaFunction(this, 'Function', {
      description: props.description,
      runtime: Runtime.NODEJS_24_X,
      architecture: Architecture.ARM_64,
      handler: 'index.handler',
      code: Code.fromAsset(packagePath('dist', 'handlers', props.handler)),
      // By its ARN: to the role itself the construct would add an inline policy, and a dependency that is there already.
      role: Role.fromRoleArn(this, 'RoleByArn', this.role.roleArn, { mutable: false }),
      logGroup,
      vpc: props.vpc,
      vpcSubnets: props.vpcSubnets,
      securityGroups: props.securityGroups,
      environment: props.environment,
      timeout: props.timeout ?? Duration.minutes(1),
      memorySize: props.memorySize ?? 256,
    });
    // Deleted after the function: it still needs its permissions to answer the deletion of the custom resource.
    this.function.node.addDependency(policy);
    if (props.vpc) {
      acknowledge(policy, {
        id: findingId(this, 'AwsSolutions-IAM5', 'Resource', '*'),
        reason:
          'Lambda makes and removes the interfaces by which a function is in a network, which have no names before. These are the ' +
          'actions of AWSLambdaVPCAccessExecutionRole, and no others have this scope (test/directory/aurora-directory.test.ts).',
      });
    }
    acknowledge(
      this.function,
      ...['LambdaInsideVPC', 'LambdaDLQ', 'LambdaConcurrency'].flatMap(inRegulatoryPacks).map((id) => ({
        id,
        reason:
          props.calls ??
          'CloudFormation alone calls this function, once for a change of the stack, and sees its failure as that of ' +
            'the deployment. It talks to AWS APIs only, over TLS, and reaches no mail (test/certificates).',
      })),
    );
  }
}
