import * as path from 'node:path';
import { erasureSuite } from './erasure.suite';
import { filteringSuite } from './filtering.suite';
import { journalSuite } from './journal.suite';
import { protocolsSuite } from './protocols.suite';
import { relaySuite } from './relay.suite';
import { restoreSuite } from './restore.suite';
import { securitySuite } from './security.suite';
import { sharingSuite } from './sharing.suite';
import { signInSuite } from './sign-in.suite';
import { sourcesSuite } from './sources.suite';
import { storeCheckSuite } from './store-check.suite';
import { useSystem } from './system';

/** What is built on the nodes, and attacks on them. */
const system = useSystem(path.join(__dirname, 'services.config.ts'));

describe('journal', () => journalSuite(system));
describe('restore', () => restoreSuite(system));
describe('restored store', () => storeCheckSuite(system));
describe('erasure', () => erasureSuite(system));
describe('protocols', () => protocolsSuite(system));
describe('relay', () => relaySuite(system));
describe('sharing', () => sharingSuite(system));
describe('sign-in', () => signInSuite(system));
describe('filtering', () => filteringSuite(system));
describe('security', () => securitySuite(system));
describe('sources', () => sourcesSuite(system));
