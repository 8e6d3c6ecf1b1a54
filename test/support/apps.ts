import { App, Environment, Stack } from 'aws-cdk-lib';
// eslint-disable-next-line @typescript-eslint/no-require-imports
const recommendedFlags: Record<string, unknown> = require('aws-cdk-lib/recommended-feature-flags.json');

/** A set of feature flags that the constructs must not depend on (for `test.each` and `describe.each`). */
export interface FlagSet {
  readonly flags: string;
  readonly context: Record<string, unknown>;
}

/** No flags, and all that `cdk init` would write today. */
export const flagSets: FlagSet[] = [
  { flags: 'no feature flags', context: {} },
  { flags: 'all recommended feature flags', context: recommendedFlags },
];

/** Where stacks without `env` and with `env` go: constructs must do the same in both. */
export const environments: { where: string; env?: Environment }[] = [
  { where: 'any environment' },
  { where: 'a known environment', env: { account: '111122223333', region: 'eu-central-1' } },
];

/** A stack named `Test` in an app of its own. */
export function testStack(context: Record<string, unknown> = {}, env?: Environment): Stack {
  return new Stack(new App({ context }), 'Test', { env });
}
