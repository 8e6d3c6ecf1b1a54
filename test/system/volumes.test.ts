import * as path from 'node:path';
import { useSystem } from './system';
import { volumeSuite } from './volume.suite';

/** A cluster of its own: mail on shards, a node to each. */
const system = useSystem(path.join(__dirname, '../../local/shards.config.ts'));

describe('shards on volumes', () => volumeSuite(system));
