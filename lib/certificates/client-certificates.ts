import { X509Certificate } from 'node:crypto';
import { Annotations, Duration, Stack, Token } from 'aws-cdk-lib';
import { ComparisonOperator, Metric, MetricOptions, Stats, TreatMissingData } from 'aws-cdk-lib/aws-cloudwatch';
import { Grant, IGrantable, PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { Bucket, IBucket } from 'aws-cdk-lib/aws-s3';
import { ITopic } from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';
import { agentMetric } from '../node/fleet-metrics';
import { NodeConfiguration } from '../node/node-configuration';
import { tellMissing } from '../private/list-bucket';
import { pinFlags } from '../private/pin-flags';
import {
  acknowledgeOneRegion,
  createBucketKey,
  encryptedWith,
  loggedIn,
  OLD_VERSIONS,
  PRIVATE_BUCKET,
} from '../private/private-bucket';
import { throughS3 } from '../private/through-s3';
import { addTopicAlarm } from '../private/topic-alarm';

/** What an owner chooses about certificates of mail clients. */
export interface ClientCertificatesOptions {
  /**
   * Certificates of the authorities that issue them, PEM, one after the other; 4500 bytes at most, without the PEM's armour. Whoever
   * they issue a certificate to can log in with it, so better not one that issues for other purposes too.
   */
  readonly authorities: string;

  /**
   * Whether nodes look at revocation lists (CRL). The authorities put them into an object in S3 (output `ClientRevocationsObject`), a new one
   * before the one there ends; after that nobody logs in.
   * @default false
   */
  readonly revocationLists?: boolean;
}

/** Properties of `ClientCertificates`. */
export interface ClientCertificatesProps extends ClientCertificatesOptions {
  /**
   * Name of the cluster, the dimension `Cluster` of its metrics.
   * @default - name of the stack
   */
  readonly clusterName?: string;

  /**
   * Key for revocation lists at rest.
   * @default - a new key with yearly rotation, with `revocationLists`
   */
  readonly encryptionKey?: IKey;

  /**
   * Bucket for S3 server access logs.
   * @default - access is not logged
   */
  readonly accessLogsBucket?: IBucket;
}

const REVOCATIONS_KEY = 'client-revocations';

const DAY = 86_400_000; // milliseconds
/** Days before an authority expires at which its owner is told: its certificates must be replaced by then, on every device. */
const DAYS_LEFT_MIN = 90;
/** In base64 they go to nodes with the user data, of which EC2 takes 16 KiB. */
const BYTES_MAX = 4500;
/** Hours before a revocation list ends at which its owner is told. */
const HOURS_LEFT_MIN = 24;
const PEM = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/**
 * Mail clients need a certificate besides the password or token, whose common name is the user's address (docs/client-certificates.md).
 *
 * @throws when an authority can't be read, is none, or has expired, and when there are too many
 */
export class ClientCertificates extends Construct {
  /** What nodes need to check certificates. It asks for AWS rights with revocation lists only. */
  public readonly configuration: NodeConfiguration;

  /** Bucket with the revocation lists, in versions; nothing without `revocationLists`. */
  public readonly revocationsBucket?: Bucket;

  /** Where the revocation lists go, such as `s3://bucket/client-revocations`; nothing without `revocationLists`. */
  public readonly revocationsLocation?: string;

  private readonly clusterName: string;
  private readonly revocationsKey?: IKey;

  constructor(scope: Construct, id: string, props: ClientCertificatesProps) {
    super(scope, id);
    this.clusterName = props.clusterName ?? Stack.of(this).stackName;
    const authorities = readAuthorities(props.authorities);
    authorities.forEach((authority) => this.checkTime(authority));
    if (props.revocationLists) {
      pinFlags(this, '@aws-cdk/aws-s3:serverAccessLogsUseBucketPolicy');
      this.revocationsKey = props.encryptionKey ?? createBucketKey(this, 'Key', 'Revocation lists of mail clients');
      this.revocationsBucket = this.createBucket(this.revocationsKey, props.accessLogsBucket);
      this.revocationsLocation = `s3://${this.revocationsBucket.bucketName}/${REVOCATIONS_KEY}`;
    }
    this.configuration = {
      environment: {
        MAIL_CLIENT_CA: authorities.map(({ raw }) => raw.toString('base64')).join(' '),
        ...(this.revocationsLocation && { MAIL_CLIENT_REVOCATIONS_OBJECT: this.revocationsLocation }),
      },
      statements: this.readStatements(),
    };
  }

  /**
   * Lets a principal, such as that of the authority, replace the revocation lists, and nothing else.
   *
   * @throws without `revocationLists`
   */
  public grantRevoke(grantee: IGrantable): Grant {
    if (!this.revocationsBucket || !this.revocationsKey) {
      throw new Error('grantRevoke needs revocationLists: true in clientCertificates; set it');
    }
    return Grant.addToPrincipal({
      grantee,
      actions: ['s3:PutObject'],
      resourceArns: [this.revocationsBucket.arnForObjects(REVOCATIONS_KEY)],
    }).combine(
      Grant.addToPrincipal({
        grantee,
        actions: ['kms:GenerateDataKey'],
        resourceArns: [this.revocationsKey.keyArn],
        conditions: throughS3(this),
      }),
    );
  }

  /** Days until the first of the authorities expires; negative when it has. */
  public metricAuthorityDaysLeft(options?: MetricOptions): Metric {
    return agentMetric('ClientAuthorityDaysLeft', this.clusterName, Stats.MINIMUM, options);
  }

  /** Hours until the first of the revocation lists that a node uses ends; negative when it has, 0 while there is none. */
  public metricRevocationHoursLeft(options?: MetricOptions): Metric {
    return agentMetric('ClientRevocationHoursLeft', this.clusterName, Stats.MINIMUM, options);
  }

  /**
   * Adds the alarm `AuthorityExpires`, and with revocation lists `RevocationsEnd`.
   *
   * @param topic where it goes
   */
  public addAlarms(topic: ITopic): void {
    addTopicAlarm(this, 'AuthorityExpires', topic, {
      metric: this.metricAuthorityDaysLeft({ period: Duration.hours(1) }),
      threshold: DAYS_LEFT_MIN,
      comparisonOperator: ComparisonOperator.LESS_THAN_THRESHOLD,
      treatMissingData: TreatMissingData.NOT_BREACHING,
      alarmDescription:
        `An authority of client certificates expires in less than ${DAYS_LEFT_MIN} days, and everybody with a certificate of its ` +
        'is locked out then. Check first: which one (`openssl storeutl -noout -text -certs /etc/mail-platform/client-ca.pem` on a ' +
        'node), then add its successor to clientCertificates.authorities and issue new certificates.',
    });
    if (!this.revocationsLocation) return;
    addTopicAlarm(this, 'RevocationsEnd', topic, {
      metric: this.metricRevocationHoursLeft({ period: Duration.minutes(15) }),
      threshold: HOURS_LEFT_MIN,
      comparisonOperator: ComparisonOperator.LESS_THAN_THRESHOLD,
      evaluationPeriods: 2,
      treatMissingData: TreatMissingData.NOT_BREACHING,
      alarmDescription:
        `A revocation list of client certificates ends in less than ${HOURS_LEFT_MIN} hours, and nobody logs in from then on; or ` +
        'there is none yet, and nobody is revoked. Check first: whether the authority has put a new one into the object that the ' +
        'output ClientRevocationsObject names, then `journalctl -u mail-client-revocations` on the nodes for why they do not take it.',
    });
  }

  private createBucket(key: IKey, accessLogsBucket?: IBucket): Bucket {
    const bucket = new Bucket(this, 'Revocations', {
      ...PRIVATE_BUCKET,
      ...encryptedWith(key),
      ...loggedIn(accessLogsBucket, 'client-revocations'),
      lifecycleRules: [OLD_VERSIONS],
    });
    acknowledgeOneRegion(
      bucket,
      'The authority makes revocation lists anew, and each node keeps its own (test/certificates/client-certificates.test.ts).',
    );
    return bucket;
  }

  private readStatements(): PolicyStatement[] | undefined {
    if (!this.revocationsBucket || !this.revocationsKey) return undefined;
    return [
      new PolicyStatement({
        sid: 'ReadRevocationLists',
        actions: ['s3:GetObject'],
        resources: [this.revocationsBucket.arnForObjects(REVOCATIONS_KEY)],
      }),
      tellMissing('SeeThatThereAreNoListsYet', this.revocationsBucket),
      new PolicyStatement({
        sid: 'DecryptRevocationLists',
        actions: ['kms:Decrypt'],
        resources: [this.revocationsKey.keyArn],
        conditions: throughS3(this),
      }),
    ];
  }

  /** An authority that has expired would lock everybody out at the next deployment. No template depends on the time. */
  private checkTime({ subject, validFrom, validTo }: X509Certificate): void {
    const now = Date.now();
    const days = Math.floor((Date.parse(validTo) - now) / DAY);
    if (Date.parse(validTo) < now || Date.parse(validFrom) > now) {
      throw new Error(
        `clientCertificates.authorities must be valid now, got ${oneLine(subject)}, from ${validFrom} to ${validTo}; ` +
          'replace the certificate',
      );
    }
    if (days < DAYS_LEFT_MIN) {
      Annotations.of(this).addWarningV2(
        'cdk-mail-platform:clientAuthorityExpires',
        `clientCertificates.authorities: ${oneLine(subject)} expires in ${days} days, on ${validTo}; add its successor and ` +
          'issue new certificates before',
      );
    }
  }
}

function readAuthorities(pem: string): X509Certificate[] {
  if (Token.isUnresolved(pem)) {
    throw new Error(
      'clientCertificates.authorities must be known when the stack is synthesised, got a token; give the text of the PEM file',
    );
  }
  const blocks = pem.match(PEM) ?? [];
  const rest = pem.replace(PEM, '');
  if (blocks.length === 0 || rest.includes('-----BEGIN')) {
    const got = rest.includes('PRIVATE KEY') ? 'a private key' : JSON.stringify(rest.trim().slice(0, 40));
    throw new Error(`clientCertificates.authorities must be certificates in PEM and nothing else, got ${got}`);
  }
  const authorities = blocks.map(readAuthority);
  const bytes = authorities.reduce((sum, { raw }) => sum + raw.length, 0);
  if (bytes > BYTES_MAX) {
    throw new Error(
      `clientCertificates.authorities must be ${BYTES_MAX} bytes or fewer together, got ${bytes} of ${authorities.length} ` +
        'certificates; name those that issue certificates of users only',
    );
  }
  return authorities;
}

function readAuthority(block: string, index: number): X509Certificate {
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(block);
  } catch (error) {
    throw new Error(
      `clientCertificates.authorities: certificate ${index + 1} can't be read: ${(error as Error).message}; copy it again`,
    );
  }
  if (!certificate.ca) {
    throw new Error(
      `clientCertificates.authorities must be certificates of authorities (CA:TRUE), got ${oneLine(certificate.subject)}; ` +
        'give the certificate of whoever issued it',
    );
  }
  return certificate;
}

/** A name as node:crypto has it, with a line for each part. */
function oneLine(name: string): string {
  return name.split('\n').join(', ');
}
