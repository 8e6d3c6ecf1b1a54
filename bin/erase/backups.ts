import { BackupClient, paginateListRecoveryPointsByBackupVault } from '@aws-sdk/client-backup';

/** Backups of the store from before a mailbox was deleted: they hold it until they expire, and AWS can't edit them. */
export interface HoldingBackups {
  /** Name of the vault. */
  readonly vault: string;
  /** How many there are. */
  readonly points: number;
  /** When the last of them that expires is deleted, ISO 8601; nothing when there is none. */
  readonly until: string | null;
  /** How many of them never expire. */
  readonly forever: number;
}

/** @throws when the vault can't be read */
export async function holdingBackups(client: BackupClient, vault: string, before: Date): Promise<HoldingBackups> {
  const ends: (Date | undefined)[] = [];
  const query = { BackupVaultName: vault, ByCreatedBefore: before };
  for await (const { RecoveryPoints = [] } of paginateListRecoveryPointsByBackupVault({ client }, query)) {
    ends.push(...RecoveryPoints.map(({ CalculatedLifecycle }) => CalculatedLifecycle?.DeleteAt));
  }
  const until = ends.filter((end) => end !== undefined).sort((a, b) => b.getTime() - a.getTime())[0];
  return {
    ...{ vault, points: ends.length, until: until?.toISOString() ?? null },
    forever: ends.filter((end) => end === undefined).length,
  };
}
