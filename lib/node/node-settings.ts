import { Duration, Size, SizeRoundingBehavior, Stack } from 'aws-cdk-lib';
import { IVpc } from 'aws-cdk-lib/aws-ec2';
import { Construct } from 'constructs';
import { MailService } from '../access/mail-service';
import { checkWhole, checkWholeDays } from '../private/check-whole';
import { MailboxFormat } from '../storage/mailbox-format';
import { FleetOptions } from './fleet-options';
import { MaintenanceWindow } from './maintenance-window';
import { DRAIN_HOOK } from './node-group';

/** What `nodeSettings` needs to know besides the owner's options. */
export interface NodeSettings extends FleetOptions {
  readonly vpc: IVpc;
  readonly hostname: string;
  readonly domains: string[];
  readonly services: MailService[];
  readonly clusterName: string;
  readonly connectionsPerNode: number;
  readonly drainTimeout: Duration;
}

/**
 * The fleet's own part of a node's environment file; `assets/node/libexec/lib.sh` checks it on the node.
 *
 * @throws when there is no domain or no service, when a size is out of its range, or when mail is to expire after less than a day
 */
export function nodeSettings(scope: Construct, settings: NodeSettings): { [key: string]: string } {
  const { region } = Stack.of(scope);
  return {
    MAIL_CLUSTER: settings.clusterName,
    AWS_REGION: region,
    AWS_DEFAULT_REGION: region,
    MAIL_DOMAINS: nonEmpty('domains', settings.domains).join(' '),
    MAIL_HOSTNAME: settings.hostname,
    MAIL_SERVICES: nonEmpty('services', settings.services)
      .map(({ name }) => name)
      .join(' '),
    MAIL_NODE_NETWORK: settings.vpc.vpcCidrBlock,
    MAIL_CONNECTIONS_MAX: `${settings.connectionsPerNode}`,
    MAIL_MESSAGE_SIZE_MAX: `${wholeMebibytes('messageSizeMax', settings.messageSizeMax ?? Size.mebibytes(50), 1024) * 2 ** 20}`,
    MAIL_QUOTA: dovecotSize(wholeMebibytes('mailboxQuota', settings.mailboxQuota ?? Size.gibibytes(5), 2 ** 24)),
    MAIL_MAILBOX_FORMAT: settings.mailboxFormat ?? MailboxFormat.MAILDIR,
    MAIL_SESSION_MANAGER: (settings.sessionManager ?? true) ? 'yes' : 'no',
    MAIL_DRAIN_HOOK: DRAIN_HOOK,
    MAIL_DRAIN_SECONDS: `${settings.drainTimeout.toSeconds()}`,
    MAIL_MAINTENANCE: (settings.maintenanceWindow ?? MaintenanceWindow.daily('02:00')).calendar,
    ...(settings.sharedFolders ? { MAIL_SHARED_FOLDERS: 'yes' } : {}),
    ...retention('MAIL_TRASH_DAYS', 'trashRetention', settings.trashRetention),
    ...retention('MAIL_JUNK_DAYS', 'junkRetention', settings.junkRetention),
  };
}

function retention(key: string, name: string, value?: Duration): { [key: string]: string } {
  if (value === undefined) {
    return {};
  }
  checkWholeDays(name, value, 1);
  return { [key]: `${value.toDays()}` };
}

function nonEmpty<T>(name: string, values: T[]): T[] {
  if (values.length === 0) {
    throw new Error(`${name} must have at least one entry, got none; add one`);
  }
  return values;
}

function wholeMebibytes(name: string, size: Size, max: number): number {
  const mebibytes = size.toMebibytes({ rounding: SizeRoundingBehavior.NONE });
  checkWhole(name, mebibytes, { min: 1, max, unit: 'MiB' });
  return mebibytes;
}

/** Size in the notation of Dovecot's settings. */
function dovecotSize(mebibytes: number): string {
  return mebibytes % 1024 === 0 ? `${mebibytes / 1024}G` : `${mebibytes}M`;
}
