import { Duration, Size } from 'aws-cdk-lib';
import { IAlarm } from 'aws-cdk-lib/aws-cloudwatch';
import { InstanceType } from 'aws-cdk-lib/aws-ec2';
import { MailboxFormat } from '../storage/mailbox-format';
import { MaintenanceWindow } from './maintenance-window';

/** What an owner chooses about nodes. */
export interface FleetOptions {
  /**
   * Instance type; its processor decides the image.
   * @default m7g.large
   */
  readonly instanceType?: InstanceType;

  /**
   * Fewest nodes.
   * @default - one for each zone
   */
  readonly minNodes?: number;

  /**
   * Most nodes.
   * @default - twice `minNodes`
   */
  readonly maxNodes?: number;

  /**
   * Client connections that a node is sized for. Nodes are added when 70 % are in use, so 30 % is always in reserve.
   * @default - from the instance type, see `connectionsPerNode`
   */
  readonly connectionsPerNode?: number;

  /**
   * Largest message, both in and out. Whole MiB, 1 GiB at most.
   * @default Size.mebibytes(50)
   */
  readonly messageSizeMax?: Size;

  /**
   * Size of a mailbox, unless the user has a size of their own. Whole MiB, 16 TiB at most.
   * @default Size.gibibytes(5)
   */
  readonly mailboxQuota?: Size;

  /**
   * How mailboxes lie on the store. It can't be changed on a store that has mail: nodes with another format than the
   * store began with refuse to start, and change nothing.
   * @default MailboxFormat.MAILDIR
   */
  readonly mailboxFormat?: MailboxFormat;

  /**
   * Whether users may share folders with each other (IMAP ACL), docs/sharing.md. Needs a store that all nodes share,
   * which shards on EBS are not.
   * @default false
   */
  readonly sharedFolders?: boolean;

  /**
   * When expired mail goes and indexes are tended, at each user's home.
   * @default MaintenanceWindow.daily('02:00')
   */
  readonly maintenanceWindow?: MaintenanceWindow;

  /**
   * Time that mail stays in Trash. Whole days, one or more.
   * @default - until the user deletes it
   */
  readonly trashRetention?: Duration;

  /**
   * Time that mail stays in Junk. Whole days, one or more.
   * @default - until the user deletes it
   */
  readonly junkRetention?: Duration;

  /**
   * Time that a node has to hand over its connections and queue before it is terminated: 30 seconds to 115 minutes.
   * @default Duration.minutes(5)
   */
  readonly drainTimeout?: Duration;

  /**
   * Time that a new node has from its start until it must be healthy: a minute to two hours. One that boots from Debian's image takes some.
   * @default Duration.minutes(10)
   */
  readonly bootTimeout?: Duration;

  /**
   * Time that a deployment waits after each new node before it replaces the next, in which an unhealthy one stops the
   * deployment, and for which it watches the group after the last. Not shorter than `bootTimeout`, 48 hours at most.
   * @default Duration.minutes(15)
   */
  readonly pauseTime?: Duration;

  /**
   * Alarms that roll a deployment back when they go off while nodes are replaced: 10 at most, of the same stack or
   * imported, none on the Auto Scaling group itself. While one is in ALARM no deployment that replaces nodes succeeds;
   * an empty list gets a repair through.
   * @default - in a `MailStack` those of `MailAlarms.rollbackAlarms`, otherwise none
   */
  readonly rollbackAlarms?: IAlarm[];

  /**
   * Whether operators can open a shell on nodes by Session Manager. There is no SSH in any case.
   * @default true
   */
  readonly sessionManager?: boolean;
}
