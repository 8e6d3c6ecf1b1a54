import * as path from 'node:path';
import { sealedSuite } from './sealed.suite';
import { useSystem } from './system';

/** A cluster of its own, whose journal is locked and sealed. */
const system = useSystem(path.join(__dirname, 'sealed.config.ts'));

describe('sealed journal', () => sealedSuite(system));
