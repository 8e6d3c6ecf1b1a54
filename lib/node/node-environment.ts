import { Token, Tokenization } from 'aws-cdk-lib';
import { NodeConfiguration } from './node-configuration';

/**
 * One environment from those that the parts of the system ask for.
 *
 * @throws when two parts set the same key to different values
 */
export function mergeEnvironments(
  own: { [key: string]: string },
  configurations: NodeConfiguration[],
): { [key: string]: string } {
  const merged: { [key: string]: string } = { ...own };
  for (const { environment } of configurations) {
    for (const [key, value] of Object.entries(environment)) {
      if (merged[key] !== undefined && merged[key] !== value) {
        throw new Error(
          `node environment has two values for ${key}: ${JSON.stringify(merged[key])} and ${JSON.stringify(value)}; ` +
            'remove one of the configurations that set it',
        );
      }
      merged[key] = value;
    }
  }
  return merged;
}

/**
 * Lines for `/etc/mail-platform/env`, which both systemd (`EnvironmentFile=`) and bash read: values with a blank are in
 * double quotes, and characters that mean different things to the two are refused.
 *
 * @throws when a key is not an environment variable's name, or a value has a line break or one of `"` `\` `$` `` ` ``
 */
export function renderEnvironment(environment: { [key: string]: string }): string {
  return Object.entries(environment)
    .map(([key, value]) => {
      if (!/^[A-Z][A-Z0-9_]*$/.test(key)) {
        throw new Error(`node environment key must be upper case letters, digits and _, got ${JSON.stringify(key)}`);
      }
      const literal = withoutTokens(value);
      const unsafe = /[\r\n"\\$`]/.exec(literal);
      if (unsafe) {
        throw new Error(
          `node environment value of ${key} must not hold ${JSON.stringify(unsafe[0])}, ` +
            `got ${JSON.stringify(literal)}; remove the character`,
        );
      }
      return /^[A-Za-z0-9_@%+=:,./-]*$/.test(literal) ? `${key}=${value}` : `${key}="${value}"`;
    })
    .join('\n');
}

/** The value with a letter in place of each token, whose own notation has a dollar sign. */
function withoutTokens(value: string): string {
  if (!Token.isUnresolved(value)) {
    return value;
  }
  return Tokenization.reverseString(value)
    .mapTokens({ mapToken: () => 'T' })
    .join({ join: (left, right) => `${left ?? ''}${right ?? ''}` });
}
