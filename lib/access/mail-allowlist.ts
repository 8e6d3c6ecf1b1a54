import { Names } from 'aws-cdk-lib';
import { AddressFamily, PrefixList } from 'aws-cdk-lib/aws-ec2';
import { Construct } from 'constructs';
import { parseCidrs } from '../private/cidr';

/** Properties of `MailAllowlist`. */
export interface MailAllowlistProps {
  /** IPv4 ranges that are let in, such as `192.0.2.0/24`. They must not overlap. */
  readonly cidrs: string[];

  /**
   * Ranges that the list has room for, 1 to 1000. Each rule that names the list counts as so many of the 60 rules that
   * a security group has by default, so keep it small; AWS does not change the size and the ranges in one update.
   * @default - the number of `cidrs`
   */
  readonly maxEntries?: number;

  /**
   * Name in the console.
   * @default - from the construct's path
   */
  readonly name?: string;
}

/**
 * A list of ranges that may reach services of the mail system, kept in a managed prefix list: one list serves several
 * services and can be shared with other accounts, and an entry added in the console or by API takes effect without a
 * deployment.
 *
 * @throws when a range can't be read, when two overlap, or when they do not fit `maxEntries`
 */
export class MailAllowlist extends Construct {
  /** Id of the prefix list, `pl-…`. */
  public readonly prefixListId: string;

  /** How many rules of a security group's quota a rule with this list takes. */
  public readonly maxEntries: number;

  constructor(scope: Construct, id: string, props: MailAllowlistProps) {
    super(scope, id);
    if (props.cidrs.length === 0) {
      throw new Error('cidrs must have one range or more, got none; use AccessSource.nowhere() to close a service');
    }
    parseCidrs('cidrs', props.cidrs);
    this.maxEntries = props.maxEntries ?? props.cidrs.length;
    if (!Number.isInteger(this.maxEntries) || this.maxEntries < props.cidrs.length || this.maxEntries > 1000) {
      throw new Error(`maxEntries must be ${props.cidrs.length} (the ranges) to 1000, got ${props.maxEntries}`);
    }
    this.prefixListId = new PrefixList(this, 'List', {
      addressFamily: AddressFamily.IP_V4,
      maxEntries: this.maxEntries,
      prefixListName: props.name ?? Names.uniqueResourceName(this, { maxLength: 100, separator: '-' }),
      entries: props.cidrs.map((cidr) => ({ cidr })),
    }).prefixListId;
  }
}
