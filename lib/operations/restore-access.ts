import { CfnOutput, Duration, RemovalPolicy } from 'aws-cdk-lib';
import { Metric, MetricOptions } from 'aws-cdk-lib/aws-cloudwatch';
import { ManagedPolicy, PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { Secret } from 'aws-cdk-lib/aws-secretsmanager';
import { ITopic } from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';
import { acknowledge } from '../compliance';
import { NodeConfiguration } from '../node/node-configuration';
import { checkWholeDays } from '../private/check-whole';
import { parseCidrs } from '../private/cidr';
import { HandlerFunction } from '../private/handler-function';
import { addRotationAlarm, rotateByFunction, rotationFailures } from '../private/rotate-by-function';
import { readSecret, rotateSecret } from '../private/secret-access';

/** From where, and for how long with one password, mail is got back. */
export interface RestoreAccessOptions {
  /** IPv4 ranges that `mail-restore` logs in from, as nodes see them, such as `192.0.2.7/32`. */
  readonly sources: string[];

  /**
   * Age at which the password is replaced, whole days, 1 to 1000.
   * @default Duration.days(30)
   */
  readonly rotateAfter?: Duration;
}

/** Properties of `RestoreAccess`. */
export interface RestoreAccessProps extends RestoreAccessOptions {
  /** Key for the password, and for the logs of the function that rotates it. */
  readonly encryptionKey: IKey;
}

/**
 * A login for `mail-restore` that opens every mailbox: `ADDRESS*mail-restore@operators`, by IMAP and from named addresses only, with
 * a password in a secret that is rotated (docs/restore.md). Each mailbox that it opens is a line in its node's log.
 *
 * @throws when there is no source, when one can't be read, overlaps another or is the whole internet, or when a time is out of range
 */
export class RestoreAccess extends Construct {
  /** `{"password"}`. */
  public readonly secret: Secret;

  /** What nodes need to check it. */
  public readonly configuration: NodeConfiguration;

  private readonly handler: HandlerFunction;

  constructor(scope: Construct, id: string, props: RestoreAccessProps) {
    super(scope, id);
    checkSources(props.sources);
    const rotateAfter = props.rotateAfter ?? Duration.days(30);
    checkWholeDays('rotateAfter', rotateAfter, 1, 1000);
    this.secret = new Secret(this, 'Secret', {
      description: 'Password of mail-restore, which opens every mailbox: {"password"}',
      encryptionKey: props.encryptionKey,
      generateSecretString: {
        secretStringTemplate: '{}',
        generateStringKey: 'password',
        passwordLength: 48,
        excludePunctuation: true,
      },
      removalPolicy: RemovalPolicy.DESTROY,
    });
    this.configuration = {
      environment: { MAIL_RESTORE_SECRET: this.secret.secretArn, MAIL_RESTORE_SOURCES: props.sources.join(' ') },
      statements: readSecret(this, this.secret),
    };
    this.handler = new HandlerFunction(this, 'Handler', {
      handler: 'password-rotation',
      description: 'Rotates the password of mail-restore',
      encryptionKey: props.encryptionKey,
      statements: [
        ...rotateSecret(this, this.secret),
        new PolicyStatement({ actions: ['secretsmanager:GetRandomPassword'], resources: ['*'] }),
      ],
      calls:
        'Secrets Manager calls this function and repeats a rotation that failed, which raises an alarm ' +
        '(test/operations/password-rotation.test.ts). It talks to Secrets Manager only, over TLS.',
    });
    acknowledge(this.handler, {
      id: 'AwsSolutions-IAM5[Resource::*]',
      reason:
        'secretsmanager:GetRandomPassword has no resource: it makes a random password and reads nothing ' +
        '(test/operations/restore-access.test.ts).',
    });
    rotateByFunction(this, { secret: this.secret, handler: this.handler, rotateAfter, immediately: false });
    new CfnOutput(this, 'SecretOutput', {
      value: this.secret.secretArn,
      description: "Password of mail-restore --login '{user}*mail-restore@operators'",
    }).overrideLogicalId('RestoreSecretArn');
  }

  /** Lets somebody read the password, and with it all mail. */
  public grantLogin(policy: ManagedPolicy): void {
    policy.addStatements(...readSecret(this, this.secret));
  }

  /** Steps of rotations that failed. Sum. */
  public metricFailures(options?: MetricOptions): Metric {
    return rotationFailures(this.handler, options);
  }

  /**
   * Adds the alarm `RotationFailed`.
   *
   * @param topic where it goes
   */
  public addAlarms(topic: ITopic): void {
    addRotationAlarm(this, 'RotationFailed', topic, {
      metric: this.metricFailures(),
      alarmDescription:
        'The password of mail-restore could not be rotated; the one in use stays good. Check first: the log of the ' +
        'function for the step that failed.',
    });
  }
}

function checkSources(sources: string[]): void {
  if (sources.length === 0) {
    throw new Error('restoreAccess.sources must have one range or more, got none; leave restoreAccess out to close it');
  }
  for (const { prefix, text } of parseCidrs('restoreAccess.sources', sources)) {
    if (prefix === 0) {
      throw new Error(`restoreAccess.sources must be less than the whole internet, got ${text}; name the addresses`);
    }
  }
}
