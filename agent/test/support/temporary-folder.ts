import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const made: string[] = [];

/** A new folder that is removed when the tests of the file are over. */
export const temporaryFolder = (): string => {
  const folder = mkdtempSync(join(tmpdir(), 'mail-agent-'));
  made.push(folder);
  return folder;
};

afterAll(() => made.forEach((folder) => rmSync(folder, { recursive: true, force: true })));
