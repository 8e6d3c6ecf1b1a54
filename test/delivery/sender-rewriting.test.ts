import { Match, Template } from 'aws-cdk-lib/assertions';
import { Secret } from 'aws-cdk-lib/aws-secretsmanager';
import { SenderRewriting } from '../../lib/delivery';
import { MailKey } from '../../lib/security';
import { flagSets, testStack } from '../support/apps';
import { openFindings } from '../support/nag';

describe.each(flagSets)('with $flags', ({ context }) => {
  const stack = testStack(context);
  const { key } = new MailKey(stack, 'Key');
  const { configuration } = new SenderRewriting(stack, 'Rewriting', { encryptionKey: key });
  const template = Template.fromStack(stack);

  test('nodes share a random secret, under the customer key, which they may read and nothing else', () => {
    template.hasResourceProperties('AWS::SecretsManager::Secret', {
      GenerateSecretString: { GenerateStringKey: 'password', PasswordLength: 48, ExcludePunctuation: true },
      KmsKeyId: Match.anyValue(),
    });
    const statements = (configuration.statements ?? []).map((statement) => stack.resolve(statement.toStatementJson()));
    expect(statements.map(({ Action }) => Action)).toEqual(['secretsmanager:GetSecretValue', 'kms:Decrypt']);
    expect(stack.resolve(configuration.environment)).toEqual({
      MAIL_REWRITING_SECRET: { Ref: expect.stringMatching(/^RewritingSecret/) },
    });
  });

  test('has no open findings', () => {
    expect(openFindings(stack)).toEqual([]);
  });
});

test('takes a secret that is there', () => {
  const stack = testStack();
  const secret = Secret.fromSecretCompleteArn(
    stack,
    'Theirs',
    'arn:aws:secretsmanager:eu-central-1:111122223333:secret:theirs-AbCdEf',
  );
  const { configuration } = new SenderRewriting(stack, 'Rewriting', { secret });
  Template.fromStack(stack).resourceCountIs('AWS::SecretsManager::Secret', 0);
  expect(configuration.environment.MAIL_REWRITING_SECRET).toBe(secret.secretArn);
});
