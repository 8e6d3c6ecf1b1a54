import { type ConnectionOptions } from 'node:tls';
import { LocalCluster } from '../../local/cluster';
import type { ClientView, LocalUser } from '../../local/mail-clients';
import { Progress } from '../../local/progress';
import { synthesise } from '../../local/synthesise';
import { affinitySuite } from './affinity.suite';
import { balancerSuite } from './balancer.suite';
import { controlSuite } from './control.suite';
import { deliverySuite } from './delivery.suite';
import { journalSuite } from './journal.suite';
import { limitsSuite } from './limits.suite';
import { loginSuite } from './login.suite';
import { mailboxFormatSuite } from './mailbox-format.suite';
import { mailboxSuite } from './mailbox.suite';
import { nodeSuite } from './node.suite';
import { passwordSuite } from './password.suite';
import { takeOverSuite } from './take-over.suite';
import { relaySuite } from './relay.suite';
import { restoreSuite } from './restore.suite';
import { securitySuite } from './security.suite';
import { tlsSuite } from './tls.suite';

/** What the suites share: two nodes and a balancer, brought up once. */
export interface System {
  readonly cluster: LocalCluster;
  readonly view: ClientView;
  /** Options for TLS clients that check the certificate. */
  readonly tls: ConnectionOptions;
  readonly alice: LocalUser;
  readonly bob: LocalUser;
}

let cluster: LocalCluster | undefined;

beforeAll(async () => {
  const progress = new Progress();
  cluster = await LocalCluster.start({ synthesise: (folder) => synthesise(folder, progress), progress, nodes: 2 });
}, 300_000);

afterAll(() => cluster?.stop());

function system(): System {
  if (!cluster) throw new Error('the cluster is not up');
  const { view } = cluster;
  const [alice, bob] = cluster.users;
  return {
    cluster,
    view,
    tls: { ca: view.authority, servername: view.hostname },
    alice,
    bob,
  };
}

jest.setTimeout(60_000);

describe('node', () => nodeSuite(system));
describe('TLS', () => tlsSuite(system));
describe('login', () => loginSuite(system));
describe('password', () => passwordSuite(system));
describe('delivery', () => deliverySuite(system));
describe('mailbox', () => mailboxSuite(system));
describe('affinity', () => affinitySuite(system));
describe('control', () => controlSuite(system));
describe('take-over', () => takeOverSuite(system));
describe('journal', () => journalSuite(system));
describe('restore', () => restoreSuite(system));
describe('limits', () => limitsSuite(system));
describe('mailbox format', () => mailboxFormatSuite(system));
describe('relay', () => relaySuite(system));
describe('security', () => securitySuite(system));
describe('balancer', () => balancerSuite(system));
