import { Duration, RemovalPolicy } from 'aws-cdk-lib';
import { ManagedPolicy, PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { Architecture, Code, Function as LambdaFunction, Runtime } from 'aws-cdk-lib/aws-lambda';
import { LogGroup, RetentionDays } from 'aws-cdk-lib/aws-logs';
import { Construct } from 'constructs';
import { acknowledge } from '../compliance';
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
      environment: props.environment,
      timeout: props.timeout ?? Duration.minutes(1),
      memorySize: props.memorySize ?? 256,
    });
    // Deleted after the function: it still needs its permissions to answer the deletion of the custom resource.
    this.function.node.addDependency(policy);
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
