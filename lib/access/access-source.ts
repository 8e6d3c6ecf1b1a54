import { Token } from 'aws-cdk-lib';
import { IPeer, Peer } from 'aws-cdk-lib/aws-ec2';
import { parseCidr, parseCidrs } from '../private/cidr';
import { MailAllowlist } from './mail-allowlist';

/** Who may reach a service. */
export class AccessSource {
  /** Every IPv4 address. */
  public static anywhere(): AccessSource {
    return new AccessSource([Peer.anyIpv4()], 1, true);
  }

  /** Nobody: the service has a port on the balancer that lets no client in. */
  public static nowhere(): AccessSource {
    return new AccessSource([], 0, false);
  }

  /**
   * IPv4 ranges such as `192.0.2.0/24`.
   *
   * @throws when one can't be read or two overlap
   */
  public static cidrs(cidrs: string[]): AccessSource {
    if (cidrs.length === 0) {
      throw new Error('cidrs must have one range or more, got none; use AccessSource.nowhere() to close a service');
    }
    const known = cidrs.filter((cidr) => !Token.isUnresolved(cidr));
    parseCidrs('cidrs', known);
    const all = known.find((cidr) => parseCidr('cidrs', cidr).prefix === 0);
    if (all) {
      throw new Error(`cidrs must be less than the whole internet, got ${all}; use AccessSource.anywhere()`);
    }
    return new AccessSource(
      cidrs.map((cidr) => Peer.ipv4(cidr)),
      cidrs.length,
      false,
    );
  }

  /**
   * A prefix list that exists: one of yours, or one of AWS.
   *
   * @param prefixListId such as `pl-0123456789abcdef0`
   * @throws when it is not the id of a prefix list
   */
  public static prefixList(prefixListId: string): AccessSource {
    if (!Token.isUnresolved(prefixListId) && !/^pl-([0-9a-f]{8}|[0-9a-f]{17})$/.test(prefixListId)) {
      throw new Error(
        `prefixListId must be pl- and 8 or 17 hexadecimal digits, got ${JSON.stringify(prefixListId)}; ` +
          'aws ec2 describe-managed-prefix-lists prints the ids',
      );
    }
    return new AccessSource([Peer.prefixList(prefixListId)], 1, false);
  }

  /** An allowlist of this app. */
  public static allowlist(allowlist: MailAllowlist): AccessSource {
    return new AccessSource([Peer.prefixList(allowlist.prefixListId)], allowlist.maxEntries, false);
  }

  /** All who are in any of the sources. */
  public static anyOf(...sources: AccessSource[]): AccessSource {
    return new AccessSource(
      sources.flatMap((source) => source.peers),
      sources.reduce((sum, source) => sum + source.ruleCount, 0),
      sources.some((source) => source.isAnywhere),
    );
  }

  /** Ranges among them that are known as such; prefix lists are not. */
  public get cidrs(): string[] {
    return this.peers.flatMap((peer) => (peer.toIngressRuleConfig().cidrIp as string | undefined) ?? []);
  }

  private constructor(
    /** Peers of the security group rules. */
    public readonly peers: IPeer[],
    /** How many of a security group's rules they take for each service; at least, when a prefix list is not ours. */
    public readonly ruleCount: number,
    /** Whether the whole internet is let in. */
    public readonly isAnywhere: boolean,
  ) {}
}
