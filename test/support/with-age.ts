import { spawnSync } from 'node:child_process';

/** Tests of sealed journals, where the program is that seals them (Debian's package age). */
export const describeWithAge = spawnSync('age', ['--version']).status === 0 ? describe : describe.skip;
