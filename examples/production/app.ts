import { App, Duration, Size, Stack } from 'aws-cdk-lib';
import { InstanceType, Vpc } from 'aws-cdk-lib/aws-ec2';
import { AccessSource, ArchiveLock, EdgeTls, MailAllowlist, MailService, MailStack } from 'cdk-mail-platform';

export const app = new App();

const env = { account: '111122223333', region: 'eu-central-1' };

// The network team's VPC: public subnets for the balancer, private ones for nodes, isolated ones for the store.
const network = new Stack(app, 'Network', { env });
const vpc = Vpc.fromVpcAttributes(network, 'Vpc', {
  vpcId: 'vpc-0123456789abcdef0',
  vpcCidrBlock: '10.20.0.0/16',
  availabilityZones: ['eu-central-1a', 'eu-central-1b', 'eu-central-1c'],
  publicSubnetIds: ['subnet-0000000000000a001', 'subnet-0000000000000a002', 'subnet-0000000000000a003'],
  privateSubnetIds: ['subnet-0000000000000b001', 'subnet-0000000000000b002', 'subnet-0000000000000b003'],
  isolatedSubnetIds: ['subnet-0000000000000c001', 'subnet-0000000000000c002', 'subnet-0000000000000c003'],
});

// A managed prefix list: other stacks can use it, and a new office is one line here.
const offices = new MailAllowlist(network, 'Offices', { cidrs: ['198.51.100.0/24', '203.0.113.16/28'] });

new MailStack(app, 'MailStack', {
  env,
  domain: 'example.com',
  additionalDomains: ['example.org'],
  hostname: 'imap.example.com',
  vpc,
  hostedZoneAttributes: { hostedZoneId: 'Z0123456789ABCDEFGHIJ', zoneName: 'example.com' },

  services: [
    MailService.IMAPS,
    MailService.SUBMISSION,
    MailService.SUBMISSIONS,
    MailService.MX,
    MailService.MANAGESIEVE,
  ],
  // IMAP, submission and MX stay open to the world; filter rules are edited from the offices only.
  allow: { managesieve: AccessSource.allowlist(offices) },

  // Channel binding for SCRAM, and IDLE sessions that may be silent for half an hour.
  implicitTls: EdgeTls.atNode({ idleTimeout: Duration.minutes(30) }),

  instanceType: new InstanceType('m7g.xlarge'),
  minNodes: 3,
  maxNodes: 9,
  mailboxQuota: Size.gibibytes(20),

  archiveLock: ArchiveLock.governance(Duration.days(365)),
  // 3000 USD a month for a year, for all accounts of the organisation together.
  shieldAdvanced: true,
  alarmEmail: 'mail-alarms@example.net',
});
