import { App } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { stacksWithEverything } from '../../bin/stacks-with-everything';
import { MailStack, MailStackProps, NodeCertificate } from '../../lib';

interface Statement {
  readonly Effect: 'Allow' | 'Deny';
  readonly Action?: string | string[];
  readonly NotAction?: string | string[];
}

const small = (props: Partial<MailStackProps> = {}) =>
  new MailStack(new App(), 'MailStack', { domain: 'example.com', ...props });

/** Between them, everything that gives somebody a permission. */
const stacks: [string, () => MailStack][] = [
  ['the smallest', small],
  ['one with every part, with EFS', () => stacksWithEverything()[0]],
  ['one with every part, with shards', () => stacksWithEverything()[1]],
  [
    'one with certificates by DNS',
    () => small({ nodeCertificate: NodeCertificate.dns01({ email: 'postmaster@example.com' }) }),
  ],
];

/** All statements below a value of the template, wherever a resource type keeps them. */
function statements(value: unknown): Statement[] {
  if (typeof value !== 'object' || value === null) return [];
  const own = 'Effect' in value ? [value as Statement] : [];
  return [...own, ...Object.values(value).flatMap(statements)];
}

/** Actions that statements below the value allow; those of NotAction with `not` in front. */
function allowed(value: unknown): string[] {
  return statements(value)
    .filter(({ Effect }) => Effect === 'Allow')
    .flatMap(({ Action = [], NotAction = [] }) =>
      [Action].flat().concat([NotAction].flat().map((name) => `not ${name}`)),
    );
}

const wild = (action: string) => /\*|^not /.test(action);

describe.each(stacks)('security of policies: %s', (_name, make) => {
  let resources: { Type: string; Properties?: unknown }[];
  beforeAll(() => {
    resources = Object.values(Template.fromStack(make()).toJSON().Resources);
  });

  test('no role may do what a wildcard stands for', () => {
    const actions = resources.filter(({ Type }) => Type.startsWith('AWS::IAM::')).flatMap(allowed);
    expect(actions.length).toBeGreaterThan(20);
    expect(actions.filter(wild)).toEqual([]);
  });

  test('policies of resources allow no wildcard either, but for keys', () => {
    // The account's own administration, without which nobody could change the key, and what CDK grants for "encrypt".
    const ofKeys = ['kms:*', 'kms:Describe*', 'kms:GenerateDataKey*', 'kms:ReEncrypt*'];
    const found = resources
      .filter(({ Type }) => !Type.startsWith('AWS::IAM::'))
      .flatMap(({ Type, Properties }) => allowed(Properties).map((action) => ({ Type, action })))
      .filter(({ Type, action }) => wild(action) && !(Type === 'AWS::KMS::Key' && ofKeys.includes(action)));
    expect(found).toEqual([]);
  });
});
