import { Template } from 'aws-cdk-lib/assertions';
import { Key } from 'aws-cdk-lib/aws-kms';
import { Secret } from 'aws-cdk-lib/aws-secretsmanager';
import { NodeSecret } from '../../lib/node';
import { testStack } from '../support/apps';
import { openFindings } from '../support/nag';

test('makes a long password of letters and digits, under the key', () => {
  const stack = testStack();
  new NodeSecret(stack, 'NodeSecret', { encryptionKey: new Key(stack, 'Key', { enableKeyRotation: true }) });
  Template.fromStack(stack).hasResourceProperties('AWS::SecretsManager::Secret', {
    GenerateSecretString: {
      SecretStringTemplate: '{}',
      GenerateStringKey: 'password',
      PasswordLength: 48,
      ExcludePunctuation: true,
    },
  });
  expect(openFindings(stack)).toEqual([]);
});

test('takes a secret that is there', () => {
  const stack = testStack();
  const arn = 'arn:aws:secretsmanager:eu-central-1:111122223333:secret:nodes-abcdef';
  const { configuration } = new NodeSecret(stack, 'NodeSecret', {
    secret: Secret.fromSecretCompleteArn(stack, 'Given', arn),
  });
  expect(configuration.environment).toEqual({ MAIL_PROXY_SECRET: arn });
  expect(configuration.statements?.map((statement) => statement.resources)).toEqual([[arn]]);
  Template.fromStack(stack).resourceCountIs('AWS::SecretsManager::Secret', 0);
});
