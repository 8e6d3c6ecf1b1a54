import { RemovalPolicy, Stack, Token } from 'aws-cdk-lib';
import { PolicyStatement, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { IKey, Key } from 'aws-cdk-lib/aws-kms';
import { ITopic, Topic } from 'aws-cdk-lib/aws-sns';
import { EmailSubscription } from 'aws-cdk-lib/aws-sns-subscriptions';
import { Construct } from 'constructs';
import { allowAlarms } from '../security/key-policy';

/** Properties of `AlarmTopic`. */
export interface AlarmTopicProps {
  /**
   * A topic to use. Its policy, and its key's if it is encrypted, must let CloudWatch alarms publish.
   * @default - a new one, encrypted, TLS only
   */
  readonly topic?: ITopic;

  /**
   * Key of a new topic. A key of this app gets a statement for CloudWatch alarms; an imported key must have it.
   * @default - a new key with yearly rotation
   */
  readonly encryptionKey?: IKey;

  /**
   * Address to subscribe. AWS sends it a message that asks for confirmation.
   * @default - nobody
   */
  readonly email?: string;
}

/**
 * The topic that alarms and the fleet's notifications go to.
 *
 * @throws when `email` is not an address
 */
export class AlarmTopic extends Construct {
  /** The topic, new or brought. */
  public readonly topic: ITopic;

  constructor(scope: Construct, id: string, props: AlarmTopicProps = {}) {
    super(scope, id);
    if (
      props.email !== undefined &&
      !Token.isUnresolved(props.email) &&
      !/^[^\s@]+@[^\s@]+\.[^\s@]+$/.test(props.email)
    ) {
      throw new Error(`email must be an address such as ops@example.com, got ${JSON.stringify(props.email)}`);
    }
    this.topic = props.topic ?? this.createTopic(props.encryptionKey ?? this.createKey());
    if (props.email) {
      this.topic.addSubscription(new EmailSubscription(props.email));
    }
  }

  private createKey(): Key {
    return new Key(this, 'Key', {
      description: 'Mail alarms',
      enableKeyRotation: true,
      // The topic keeps nothing that would have to be read after it is gone.
      removalPolicy: RemovalPolicy.DESTROY,
    });
  }

  private createTopic(key: IKey): Topic {
    allowAlarms(this, key);
    const topic = new Topic(this, 'Topic', { displayName: 'Mail alarms', masterKey: key, enforceSSL: true });
    topic.addToResourcePolicy(
      new PolicyStatement({
        sid: 'AlarmsPublish',
        principals: [new ServicePrincipal('cloudwatch.amazonaws.com')],
        actions: ['sns:Publish'],
        resources: [topic.topicArn],
        conditions: { StringEquals: { 'aws:SourceAccount': Stack.of(this).account } },
      }),
    );
    return topic;
  }
}
