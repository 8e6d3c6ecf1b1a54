import { filteringSuite } from './filtering.suite';
import { journalSuite } from './journal.suite';
import { relaySuite } from './relay.suite';
import { restoreSuite } from './restore.suite';
import { securitySuite } from './security.suite';
import { useSystem } from './system';

/** What is built on the nodes, and attacks on them. */
const system = useSystem();

describe('journal', () => journalSuite(system));
describe('restore', () => restoreSuite(system));
describe('relay', () => relaySuite(system));
describe('filtering', () => filteringSuite(system));
describe('security', () => securitySuite(system));
