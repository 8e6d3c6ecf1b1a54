import { relative } from 'node:path';
import { App } from 'aws-cdk-lib';
import { loadConfig } from './load-config';
import { buildMailApp } from './build-mail-app';

// The CDK command passes -c config=path by way of an app's context.
const path: string = new App({ autoSynth: false }).node.tryGetContext('config') ?? 'mail.config.ts';

try {
  buildMailApp(loadConfig(path)).synth();
} catch (error) {
  // Constructs' errors may go on with where in the tree they are, which does not help whoever wrote the file.
  const [line] = (error as Error).message.split('\n');
  // Broken rules were printed one by one already, and may be the fault of the stack.
  console.error(line.startsWith('Validation failed') ? line : `${relative(process.cwd(), path)}: ${line}`);
  process.exitCode = 1;
}
