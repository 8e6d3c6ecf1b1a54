import { mkdirSync, readFileSync } from 'node:fs';
import * as path from 'node:path';
import { PROJECT } from './paths';
import type { Progress } from './progress';
import { run } from './run';

/** The configuration that the local cluster synthesises. */
export const CONFIG = path.join(__dirname, 'mail.config.ts');

/**
 * Synthesises MailStack with the template rules and the cdk-nag packs, as `cdk deploy` would: by the command in
 * cdk.json, with its context, but without the CDK command around it, which takes seconds.
 *
 * @returns the folder of the cloud assembly.
 * @throws Error with what the app printed when a rule is broken or the configuration is wrong.
 */
export async function synthesise(folder: string, progress: Progress, config = CONFIG): Promise<string> {
  mkdirSync(folder, { recursive: true });
  await progress.step('MailStack synthesised; template rules and cdk-nag find nothing', async () => {
    const { app, context } = JSON.parse(readFileSync(path.join(PROJECT, 'cdk.json'), 'utf8'));
    const env = { ...process.env, CDK_OUTDIR: folder, CDK_CONTEXT_JSON: JSON.stringify({ ...context, config }) };
    await run('sh', ['-c', app], { cwd: PROJECT, env });
  });
  return folder;
}
