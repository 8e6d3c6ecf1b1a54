import { Stack } from 'aws-cdk-lib';
import { IBackupVault } from 'aws-cdk-lib/aws-backup';
import { Effect, PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { IConstruct } from 'constructs';

/** What a backup or restore of one file system touches. */
export interface BackedUpStore {
  readonly fileSystemArn: string;
  readonly fileSystemKey?: IKey;
  readonly vault: IBackupVault;
  readonly vaultKey: IKey;
  readonly copyTo?: IBackupVault;
}

/**
 * What AWS Backup does to back up a file system and copy the backup: the statements on EFS of the managed policy
 * AWSBackupServiceRolePolicyForBackup, on this file system and these vaults only.
 *
 * @see https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AWSBackupServiceRolePolicyForBackup.html
 */
export function backupStatements(scope: IConstruct, store: BackedUpStore): PolicyStatement[] {
  const vaults = [store.vault, ...(store.copyTo ? [store.copyTo] : [])].map((vault) => vault.backupVaultArn);
  return [
    new PolicyStatement({
      sid: 'ReadStore',
      actions: ['elasticfilesystem:Backup', 'elasticfilesystem:DescribeTags'],
      resources: [store.fileSystemArn],
    }),
    new PolicyStatement({
      sid: 'FillVaults',
      actions: ['backup:DescribeBackupVault', 'backup:CopyIntoBackupVault', 'backup:CopyFromBackupVault'],
      resources: vaults,
    }),
    ...useKeys(scope, store),
  ];
}

/**
 * What AWS Backup does to restore to a new file system: the statements on EFS of the managed policy
 * AWSBackupServiceRolePolicyForRestores. It can't touch the store itself.
 *
 * @see https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AWSBackupServiceRolePolicyForRestores.html
 */
export function restoreStatements(scope: IConstruct, store: BackedUpStore): PolicyStatement[] {
  const actions = [
    'elasticfilesystem:Restore',
    'elasticfilesystem:CreateFilesystem',
    'elasticfilesystem:DescribeFilesystems',
    'elasticfilesystem:DeleteFilesystem',
    'elasticfilesystem:TagResource',
  ];
  return [
    // The new file system has an id that nobody knows before.
    new PolicyStatement({ sid: 'RestoreToNewFileSystem', actions, resources: [anyFileSystem(scope)] }),
    new PolicyStatement({ sid: 'LeaveStoreAlone', effect: Effect.DENY, actions, resources: [store.fileSystemArn] }),
    ...useKeys(scope, store),
  ];
}

/** All file systems of the account in this region. */
export function anyFileSystem(scope: IConstruct): string {
  return Stack.of(scope).formatArn({ service: 'elasticfilesystem', resource: 'file-system', resourceName: '*' });
}

function useKeys(scope: IConstruct, { fileSystemKey, vaultKey }: BackedUpStore): PolicyStatement[] {
  const { region, urlSuffix } = Stack.of(scope);
  const keyArns = [...new Set([vaultKey, ...(fileSystemKey ? [fileSystemKey] : [])].map((key) => key.keyArn))];
  const viaService = ['backup', 'elasticfilesystem'].map((service) => `${service}.${region}.${urlSuffix}`);
  return [
    new PolicyStatement({ sid: 'DescribeKeys', actions: ['kms:DescribeKey'], resources: keyArns }),
    new PolicyStatement({
      sid: 'UseKeys',
      actions: ['kms:Decrypt', 'kms:GenerateDataKey', 'kms:GenerateDataKeyWithoutPlaintext'],
      resources: keyArns,
      conditions: { StringEquals: { 'kms:ViaService': viaService } },
    }),
    new PolicyStatement({
      sid: 'LendKeysToAws',
      actions: ['kms:CreateGrant'],
      resources: keyArns,
      conditions: { Bool: { 'kms:GrantIsForAWSResource': 'true' } },
    }),
  ];
}
