import * as path from 'node:path';
import { blockListsSuite } from './block-lists.suite';
import { erasureSuite } from './erasure.suite';
import { filteringSuite } from './filtering.suite';
import { inboundSuite } from './inbound.suite';
import { journalSuite } from './journal.suite';
import { relaySuite } from './relay.suite';
import { restoreAccessSuite } from './restore-access.suite';
import { rewritingSuite } from './rewriting.suite';
import { restoreSuite } from './restore.suite';
import { securitySuite } from './security.suite';
import { sendingSuite } from './sending.suite';
import { signInSuite } from './sign-in.suite';
import { sourcesSuite } from './sources.suite';
import { storeCheckSuite } from './store-check.suite';
import { storeRestoreSuite } from './store-restore.suite';
import { useSystem } from './system';

/** What is built on the nodes, and attacks on them. */
const system = useSystem(path.join(__dirname, 'services.config.ts'));

describe('journal', () => journalSuite(system));
describe('restore', () => restoreSuite(system));
describe('restore access', () => restoreAccessSuite(system));
describe('restored store', () => storeCheckSuite(system));
describe('copy of the store', () => storeRestoreSuite(system));
describe('erasure', () => erasureSuite(system));
describe('inbound', () => inboundSuite(system));
describe('relay', () => relaySuite(system));
describe('rewriting', () => rewritingSuite(system));
describe('sending', () => sendingSuite(system));
describe('sign-in', () => signInSuite(system));
describe('filtering', () => filteringSuite(system));
describe('security', () => securitySuite(system));
describe('sources', () => sourcesSuite(system));
describe('block lists', () => blockListsSuite(system));
