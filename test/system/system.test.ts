import { affinitySuite } from './affinity.suite';
import { balancerSuite } from './balancer.suite';
import { controlSuite } from './control.suite';
import { deliverySuite } from './delivery.suite';
import { limitsSuite } from './limits.suite';
import { loginSuite } from './login.suite';
import { mailboxFormatSuite } from './mailbox-format.suite';
import { mailboxSuite } from './mailbox.suite';
import { nodeSuite } from './node.suite';
import { passwordSuite } from './password.suite';
import { takeOverSuite } from './take-over.suite';
import { tlsSuite } from './tls.suite';
import { useSystem } from './system';

/** Each part of a node and of the cluster, over its protocols. */
const system = useSystem();

describe('node', () => nodeSuite(system));
describe('TLS', () => tlsSuite(system));
describe('login', () => loginSuite(system));
describe('password', () => passwordSuite(system));
describe('delivery', () => deliverySuite(system));
describe('mailbox', () => mailboxSuite(system));
describe('affinity', () => affinitySuite(system));
describe('control', () => controlSuite(system));
describe('take-over', () => takeOverSuite(system));
describe('limits', () => limitsSuite(system));
describe('mailbox format', () => mailboxFormatSuite(system));
describe('balancer', () => balancerSuite(system));
