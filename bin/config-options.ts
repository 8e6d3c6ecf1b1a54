import { App, Duration, Stack } from 'aws-cdk-lib';
import { ArnPrincipal, IPrincipal } from 'aws-cdk-lib/aws-iam';
import { Key } from 'aws-cdk-lib/aws-kms';
import { Bucket } from 'aws-cdk-lib/aws-s3';
import { Secret } from 'aws-cdk-lib/aws-secretsmanager';
import {
  ArchiveCopyOptions,
  ArchiveReplicationOptions,
  ArchiveTiers,
  IdentityCenterPrincipal,
  MailFirewallOptions,
  MailOperatorsOptions,
  MailStorage,
} from '../lib';
import { MailConfig } from './mail-config';

/** What exists elsewhere needs a stack to be referred to from; of this one nothing is deployed. */
const imports = (): Stack => new Stack(new App(), 'Imports');

/** Roles of people, from their ARNs and permission sets. */
export function operators({ operators: roles }: MailConfig): MailOperatorsOptions | undefined {
  if (!roles) return undefined;
  const { sessionHours, erasure, restore } = roles;
  return {
    operators: roles.operators?.map(person),
    auditors: roles.auditors?.map(person),
    helpDesk: roles.helpDesk?.map(person),
    sessionLength: sessionHours === undefined ? undefined : Duration.hours(sessionHours),
    erasure,
    restore,
  };
}

/** Deep inspection between the internet and the network. */
export function networkFirewall({ networkFirewall: firewall }: MailConfig): MailFirewallOptions | undefined {
  return firewall === true ? {} : firewall || undefined;
}

/** The copy outside AWS. */
export function archiveCopy({ archiveCopy: copy }: MailConfig): ArchiveCopyOptions | undefined {
  if (!copy) return undefined;
  const { secretArn, lateMinutes, ...rest } = copy;
  return {
    ...rest,
    credentials: Secret.fromSecretCompleteArn(imports(), 'ArchiveCopy', secretArn),
    lateAfter: lateMinutes === undefined ? undefined : Duration.minutes(lateMinutes),
  };
}

/** The store on EFS, with a copy in another region; nothing where there is none. */
export function replicatedStore({ storeReplication: copy }: MailConfig): MailStorage | undefined {
  if (!copy) return undefined;
  const encryptionKey = copy.keyArn === undefined ? undefined : Key.fromKeyArn(imports(), 'Key', copy.keyArn);
  return MailStorage.efs({ replication: { region: copy.region, encryptionKey } });
}

/** The copy in another region. */
export function archiveReplication({ archiveReplication: copy }: MailConfig): ArchiveReplicationOptions | undefined {
  if (!copy) return undefined;
  const scope = imports();
  return {
    destination: Bucket.fromBucketName(scope, 'Bucket', copy.bucketName),
    destinationKey: Key.fromKeyArn(scope, 'Key', copy.keyArn),
    destinationRegion: copy.region,
  };
}

/** When archived mail moves to colder classes. */
export function archiveTiers({ archiveTiers: tiers }: MailConfig): ArchiveTiers | undefined {
  if (!tiers) return undefined;
  const days = (count?: number) => (count === undefined ? undefined : Duration.days(count));
  return { glacierAfter: days(tiers.glacierDays), deepArchiveAfter: days(tiers.deepArchiveDays) };
}

/** @param who ARN of an IAM user, or `permissionSet:` and the name of a permission set */
function person(who: string): IPrincipal {
  const [, permissionSet] = /^permissionSet:(.*)$/.exec(who) ?? [];
  return permissionSet === undefined ? new ArnPrincipal(who) : new IdentityCenterPrincipal(permissionSet);
}
