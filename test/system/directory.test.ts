import * as path from 'node:path';
import { directorySuite } from './directory.suite';
import { useSystem } from './system';

/** A cluster of its own: users in a database. */
const system = useSystem(path.join(__dirname, '../../local/directory.config.ts'));

describe('directory', () => directorySuite(system));
