import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { checkConfig, ConfigError, MailConfig } from './mail-config';

/**
 * Reads a configuration file, such as `mail.config.ts`.
 *
 * @throws ConfigError when it is not there, is not TypeScript, or has a bad value; the message is one line
 */
export function loadConfig(path: string): MailConfig {
  const file = resolve(path);
  if (!existsSync(file)) {
    throw new ConfigError('there is no such file');
  }
  return checkConfig(defaultExport(file));
}

function defaultExport(file: string): unknown {
  try {
    // The path is known at run time only.
    // eslint-disable-next-line @typescript-eslint/no-require-imports
    return (require(file) as { default?: unknown }).default;
  } catch (error) {
    throw new ConfigError(`can't be read: ${(error as Error).message.split('\n')[0]}`);
  }
}
