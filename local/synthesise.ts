import { mkdirSync } from 'node:fs';
import * as path from 'node:path';
import { PROJECT } from './paths';
import type { Progress } from './progress';
import { run } from './run';

/** The configuration that the local cluster synthesises. */
export const CONFIG = path.join(__dirname, 'mail.config.ts');

/**
 * Synthesises MailStack with the template rules and the cdk-nag packs, as `cdk deploy` would.
 *
 * @returns the folder of the cloud assembly.
 * @throws Error with what the app printed when a rule is broken or the configuration is wrong.
 */
export async function synthesise(folder: string, progress: Progress, config = CONFIG): Promise<string> {
  mkdirSync(folder, { recursive: true });
  await progress.step('MailStack synthesised; template rules and cdk-nag find nothing', async () => {
    const cdk = path.join(PROJECT, 'node_modules', '.bin', 'cdk');
    await run(cdk, ['synth', 'MailStack', '--quiet', '--output', folder, '--context', `config=${config}`], {
      cwd: PROJECT,
    });
  });
  return folder;
}
