import { readFileSync } from 'node:fs';
import { Fn, Names, RemovalPolicy, Token } from 'aws-cdk-lib';
import { CfnGatewayRouteTableAssociation, CfnRoute, CfnRouteTable, ISubnet, Vpc } from 'aws-cdk-lib/aws-ec2';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { LogGroup, RetentionDays } from 'aws-cdk-lib/aws-logs';
import { CfnFirewall, CfnFirewallPolicy, CfnLoggingConfiguration, CfnRuleGroup } from 'aws-cdk-lib/aws-networkfirewall';
import { Construct } from 'constructs';
import { packagePath } from '../private/package-root';

/** Rules that the group has room for. AWS sets it aside when the group is made and can't change it. */
const CAPACITY = 1000;

/** Longest text of rules that AWS takes, bytes. */
const RULES_MAX = 2_000_000;

/** What an owner chooses about the firewall. */
export interface MailFirewallOptions {
  /**
   * Whether what rules would drop is let through and told of, for a trial.
   * @default false
   */
  readonly alertOnly?: boolean;

  /**
   * Suricata rules of yours, one a line, read before the built-in ones. Ids from 1001000 on. They may use `$HOME_NET`,
   * `$EXTERNAL_NET`, `$MAIL_PORTS` and `$TLS_PORTS`.
   * @default - none
   */
  readonly rules?: string;

  /**
   * ARNs of stateful rule groups in strict order, such as those that AWS maintains
   * (`arn:aws:network-firewall:REGION:aws-managed:stateful-rulegroup/ThreatSignaturesScannersStrictOrder`), in their order.
   * @default - none
   */
  readonly ruleGroupArns?: string[];

  /**
   * Whether the firewall can't be deleted until this is turned off.
   * @default true
   */
  readonly deletionProtection?: boolean;
}

/** Properties of `MailFirewall`. */
export interface MailFirewallProps extends MailFirewallOptions {
  /** Ports that clients and other mail servers come to. */
  readonly ports: number[];

  /**
   * Those of them on which TLS begins at once.
   * @default - those among 465, 993 and 995
   */
  readonly tlsPorts?: number[];

  /** A network that this app makes: its routes are changed. */
  readonly vpc: Vpc;

  /** Subnets of the firewall, one for each zone, in the order of `protectedSubnets`; their default route is the internet gateway. */
  readonly firewallSubnets: ISubnet[];

  /** Public subnets to protect, one for each zone. */
  readonly protectedSubnets: ISubnet[];

  /** Key of the log; rules are under AWS' own, CloudFormation knows no other. An imported key must let CloudWatch Logs use it. */
  readonly encryptionKey: IKey;

  /**
   * How long alerts are kept.
   * @default RetentionDays.ONE_YEAR
   */
  readonly logRetention?: RetentionDays;
}

/**
 * Deep inspection of all traffic between the internet and the public subnets, by Suricata rules: an AWS Network Firewall in each
 * zone, and routes that lead both directions of a connection through the same one (docs/network-firewall.md).
 *
 * 290 USD a month for each zone, and 0.065 a GB.
 *
 * @throws when there is no port, when subnets are not one for each zone, or when rules are not what Network Firewall takes
 */
export class MailFirewall extends Construct {
  /** One for each zone: a firewall over several zones does not tell CloudFormation which of its endpoints is in which. */
  public readonly firewalls: CfnFirewall[];

  /** Endpoints, one for each zone. */
  public readonly endpointIds: string[];

  /** Rules, and their order. */
  public readonly policy: CfnFirewallPolicy;

  /** What rules dropped or told of; kept when the stack is deleted. */
  public readonly logGroup: LogGroup;

  constructor(scope: Construct, id: string, props: MailFirewallProps) {
    super(scope, id);
    checkProps(props);
    this.policy = this.createPolicy(props, this.createRules(props));
    this.logGroup = new LogGroup(this, 'Alerts', {
      encryptionKey: props.encryptionKey,
      retention: props.logRetention ?? RetentionDays.ONE_YEAR,
      removalPolicy: RemovalPolicy.RETAIN,
    });
    this.firewalls = props.firewallSubnets.map((subnet, index) => this.createFirewall(index + 1, subnet, props));
    // Of one subnet there is one endpoint, told as `eu-central-1a:vpce-…`.
    this.endpointIds = this.firewalls.map(({ attrEndpointIds }) =>
      Fn.select(1, Fn.split(':', Fn.select(0, attrEndpointIds))),
    );
    this.route(props);
  }

  /** AWS wants names from us for all of these. */
  private nameOf(part: string): string {
    return `${Names.uniqueResourceName(this, { maxLength: 100, separator: '-' })}-${part}`;
  }

  private createRules(props: MailFirewallProps): CfnRuleGroup {
    return new CfnRuleGroup(this, 'Rules', {
      ruleGroupName: this.nameOf('Rules'),
      description: 'Mail: protocols and ports',
      type: 'STATEFUL',
      capacity: CAPACITY,
      ruleGroup: {
        ruleVariables: { portSets: { MAIL_PORTS: portSet(props.ports), TLS_PORTS: portSet(tlsPortsOf(props)) } },
        rulesSource: { rulesString: rulesOf(props) },
        statefulRuleOptions: { ruleOrder: 'STRICT_ORDER' },
      },
    });
  }

  private createPolicy(props: MailFirewallProps, rules: CfnRuleGroup): CfnFirewallPolicy {
    const others = (props.ruleGroupArns ?? []).map((resourceArn, index) => ({
      resourceArn,
      priority: index + 2,
      override: props.alertOnly ? { action: 'DROP_TO_ALERT' } : undefined,
    }));
    return new CfnFirewallPolicy(this, 'Policy', {
      firewallPolicyName: this.nameOf('Policy'),
      description: 'Mail: everything is inspected with its connection',
      firewallPolicy: {
        statelessDefaultActions: ['aws:forward_to_sfe'],
        statelessFragmentDefaultActions: ['aws:forward_to_sfe'],
        // A connection that the firewall does not know, as after its failure, is reset: clients come again at once.
        statefulEngineOptions: { ruleOrder: 'STRICT_ORDER', streamExceptionPolicy: 'REJECT' },
        statefulRuleGroupReferences: [{ resourceArn: rules.attrRuleGroupArn, priority: 1 }, ...others],
      },
    });
  }

  private createFirewall(zone: number, subnet: ISubnet, props: MailFirewallProps): CfnFirewall {
    const firewall = new CfnFirewall(this, `Firewall${zone}`, {
      firewallName: this.nameOf(`${zone}`),
      firewallPolicyArn: this.policy.attrFirewallPolicyArn,
      vpcId: props.vpc.vpcId,
      subnetMappings: [{ subnetId: subnet.subnetId }],
      deleteProtection: props.deletionProtection ?? true,
      subnetChangeProtection: true,
    });
    // Connections are in the flow logs of the network already.
    new CfnLoggingConfiguration(this, `Logging${zone}`, {
      firewallArn: firewall.attrFirewallArn,
      loggingConfiguration: {
        logDestinationConfigs: [
          {
            logType: 'ALERT',
            logDestinationType: 'CloudWatchLogs',
            logDestination: { logGroup: this.logGroup.logGroupName },
          },
        ],
      },
    });
    return firewall;
  }

  /**
   * From the internet gateway to a protected subnet, and back, by the firewall of that subnet's zone: a firewall that sees one
   * direction only drops the connection.
   *
   * @see https://docs.aws.amazon.com/network-firewall/latest/developerguide/arch-two-zone-igw.html
   */
  private route(props: MailFirewallProps): void {
    const { vpc, protectedSubnets } = props;
    const inwards = new CfnRouteTable(this, 'InwardsRoutes', {
      vpcId: vpc.vpcId,
      tags: [{ key: 'Name', value: this.node.path }],
    });
    protectedSubnets.forEach((subnet, index) => {
      new CfnRoute(this, `InwardsRoute${index + 1}`, {
        routeTableId: inwards.ref,
        destinationCidrBlock: subnet.ipv4CidrBlock,
        vpcEndpointId: this.endpointIds[index],
      });
      const outwards = subnet.node.findChild('DefaultRoute') as CfnRoute;
      outwards.gatewayId = undefined;
      outwards.vpcEndpointId = this.endpointIds[index];
    });
    new CfnGatewayRouteTableAssociation(this, 'Inwards', {
      gatewayId: vpc.internetGatewayId!,
      routeTableId: inwards.ref,
    });
    // A firewall without its way to the internet would take traffic and lose it.
    for (const [index, subnet] of props.firewallSubnets.entries()) {
      this.firewalls[index].node.addDependency(subnet.internetConnectivityEstablished);
    }
  }
}

function rulesOf({ rules, alertOnly }: MailFirewallProps): string {
  const builtIn = readFileSync(packagePath('assets', 'network-firewall', 'mail.rules'), 'utf8');
  const all = `${rules ? `${rules.trimEnd()}\n` : ''}${builtIn}`;
  const lines = all.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('#'));
  const unknown = lines.find((line) => !/^(alert|drop|reject) .*\(.*\bsid:\d+;.*\)\s*$/.test(line));
  if (unknown) {
    throw new Error(`rules must be lines of alert, drop or reject with a sid, got ${JSON.stringify(unknown)}`);
  }
  const refused = /\b(classtype|priority|threshold|dataset|datarep|iprep|lua|filestore)\b\s*:/.exec(lines.join('\n'));
  if (refused) {
    throw new Error(`rules must not have ${refused[1]}, which Network Firewall does not take; remove it`);
  }
  const ids = lines.map((line) => /\bsid:(\d+);/.exec(line)![1]);
  const twice = ids.find((id, index) => ids.indexOf(id) !== index);
  if (twice) {
    throw new Error(`rules must each have a sid of their own, got ${twice} twice; yours are 1001000 and more`);
  }
  const text = lines.map((line) => (alertOnly ? line.replace(/^(drop|reject) /, 'alert ') : line)).join('\n');
  if (lines.length > CAPACITY || Buffer.byteLength(text) > RULES_MAX) {
    throw new Error(
      `rules must be <= ${CAPACITY} and ${RULES_MAX} bytes with the built-in ones, got ${lines.length}; use ruleGroupArns`,
    );
  }
  return text;
}

function tlsPortsOf({ ports, tlsPorts }: MailFirewallProps): number[] {
  return tlsPorts ?? ports.filter((port) => [465, 993, 995].includes(port));
}

function portSet(ports: number[]): CfnRuleGroup.PortSetProperty {
  return { definition: ports.map((port) => `${port}`) };
}

function checkProps(props: MailFirewallProps): void {
  const { ports, firewallSubnets, protectedSubnets, rules } = props;
  for (const [name, set] of Object.entries({ ports, tlsPorts: tlsPortsOf(props) })) {
    if (set.length === 0) {
      throw new Error(`${name} must have one port or more, got none`);
    }
  }
  if (Token.isUnresolved(rules)) {
    throw new Error('rules must be known when the app is synthesised, got a token; read them from a file');
  }
  const zones = (subnets: ISubnet[]) => subnets.map(({ availabilityZone }) => availabilityZone).join(', ');
  if (firewallSubnets.length === 0 || zones(firewallSubnets) !== zones(protectedSubnets)) {
    throw new Error(
      `firewallSubnets must be one for each of protectedSubnets, in the same zones (${zones(protectedSubnets)}), ` +
        `got ${zones(firewallSubnets) || 'none'}`,
    );
  }
}
