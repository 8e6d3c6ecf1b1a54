import { CustomResource, Duration, RemovalPolicy } from 'aws-cdk-lib';
import { Metric, MetricOptions } from 'aws-cdk-lib/aws-cloudwatch';
import { Group, ManagedPolicy, PolicyStatement, User } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { ISecret, Secret } from 'aws-cdk-lib/aws-secretsmanager';
import { Construct } from 'constructs';
import { checkWholeDays } from '../private/check-whole';
import { HandlerFunction } from '../private/handler-function';
import { rotateByFunction, rotationFailures } from '../private/rotate-by-function';
import { readSecret, writeSecret } from '../private/secret-access';

/** Properties of `SmtpCredentials`. */
export interface SmtpCredentialsProps {
  /** SMTP endpoint that the login is for, such as `email-smtp.eu-central-1.amazonaws.com`. */
  readonly smtpHost: string;

  /** Identities and configuration sets, by their ARNs, that the login may send with. */
  readonly resourceArns: string[];

  /** Key of the secret and of the function's logs. */
  readonly encryptionKey: IKey;

  /**
   * Time between two rotations, whole days. A login is accepted for twice as long: the former one goes when the next
   * rotation begins.
   * @default Duration.days(45) - no key gets older than 90 days
   */
  readonly rotateAfter?: Duration;
}

/**
 * A login for the SMTP endpoint of SES: an IAM user who may send and do nothing else, and a secret with its SMTP login,
 * `{"username": …, "password": …}`, that is rotated.
 *
 * SES takes no temporary credentials by SMTP, so this is the one IAM user of the mail system.
 *
 * @throws when `rotateAfter` is not 1 to 365 whole days
 * @see https://docs.aws.amazon.com/ses/latest/dg/smtp-credentials.html
 */
export class SmtpCredentials extends Construct {
  /** Whose keys the logins are. */
  public readonly user: User;
  /** The login: `{"username", "password"}`. */
  public readonly secret: ISecret;

  /** ARN of the secret, known only when it is filled. */
  public readonly filledSecretArn: string;

  private readonly handler: HandlerFunction;

  constructor(scope: Construct, id: string, props: SmtpCredentialsProps) {
    super(scope, id);
    const rotateAfter = props.rotateAfter ?? Duration.days(45);
    checkWholeDays('rotateAfter', rotateAfter, 1, 365);
    const senders = new Group(this, 'Senders', {
      managedPolicies: [
        new ManagedPolicy(this, 'Policy', {
          description: 'Sends mail through SES',
          statements: [new PolicyStatement({ actions: ['ses:SendRawEmail'], resources: props.resourceArns })],
        }),
      ],
    });
    this.user = new User(this, 'User', { groups: [senders] });
    const secret = new Secret(this, 'Secret', {
      description: 'SMTP login of the mail system at SES: {"username", "password"}',
      encryptionKey: props.encryptionKey,
      // Nothing in it that could not be made again.
      removalPolicy: RemovalPolicy.DESTROY,
    });
    this.secret = secret;
    this.handler = this.createHandler(props);
    const credentials = new CustomResource(this, 'Credentials', {
      resourceType: 'Custom::SmtpCredentials',
      serviceToken: this.handler.function.functionArn,
      serviceTimeout: Duration.minutes(4),
      properties: { UserName: this.user.userName, SecretArn: secret.secretArn },
    });
    this.filledSecretArn = credentials.ref;
    // Not secret.addRotationSchedule(): it names the function's role in the key's policy, which may be of another stack.
    const rotation = rotateByFunction(this, { secret, handler: this.handler, rotateAfter, immediately: false });
    rotation.node.addDependency(credentials); // it is filled before
  }

  /** Runs that failed: rotations, which leave the login in use as it is. */
  public metricFailures(options?: MetricOptions): Metric {
    return rotationFailures(this.handler, options);
  }

  private createHandler({ encryptionKey, smtpHost }: SmtpCredentialsProps): HandlerFunction {
    return new HandlerFunction(this, 'Handler', {
      handler: 'smtp-credentials',
      description: 'Fills and rotates the SMTP login of the mail system',
      encryptionKey,
      statements: [
        new PolicyStatement({
          actions: ['iam:CreateAccessKey', 'iam:DeleteAccessKey', 'iam:ListAccessKeys'],
          resources: [this.user.userArn],
        }),
        ...readSecret(this, this.secret),
        ...writeSecret(this, this.secret),
        new PolicyStatement({
          actions: ['secretsmanager:DescribeSecret', 'secretsmanager:UpdateSecretVersionStage'],
          resources: [this.secret.secretArn],
        }),
      ],
      environment: {
        SMTP_USER: this.user.userName,
        SMTP_SECRET: this.secret.secretArn,
        SMTP_HOST: smtpHost,
      },
      // IAM needs some seconds to tell all of AWS about a new key.
      timeout: Duration.minutes(3),
      calls:
        'CloudFormation calls this function when the stack changes, and Secrets Manager when it rotates, which it tries ' +
        'again by itself. It talks to IAM, Secrets Manager and SES only, over TLS (test/delivery/smtp-credentials.test.ts).',
    });
  }
}
