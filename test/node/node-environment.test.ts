import { Aws, Stack } from 'aws-cdk-lib';
import { mergeEnvironments, renderEnvironment } from '../../lib/node/node-environment';

test('quotes values with blanks only', () => {
  expect(renderEnvironment({ A: 'plain-1.2/3', B: 'two words', C: '' })).toBe('A=plain-1.2/3\nB="two words"\nC=');
});

test('leaves tokens for deployment', () => {
  const rendered = new Stack().resolve(renderEnvironment({ A: `fs-1.efs.${Aws.REGION}.amazonaws.com` }));
  expect(rendered).toEqual({ 'Fn::Join': ['', ['A=fs-1.efs.', { Ref: 'AWS::Region' }, '.amazonaws.com']] });
});

test.each(['a\nB=c', 'a\rb', 'say "hi"', 'back\\slash', '$HOME', '`id`'])('fails when a value is %j', (value) => {
  expect(() => renderEnvironment({ KEY: value })).toThrow('node environment value of KEY must not hold');
});

test('fails when a value with a token also has a dollar sign', () => {
  expect(() => renderEnvironment({ KEY: `${Aws.REGION} $HOME` })).toThrow('must not hold "$"');
});

test('fails when a key is no variable name', () => {
  expect(() => renderEnvironment({ 'a b': 'c' })).toThrow('node environment key must be');
});

test('fails when two parts disagree about a key', () => {
  const parts = [{ environment: { MAIL_STORE: 'efs' } }, { environment: { MAIL_STORE: 'ebs' } }];
  expect(() => mergeEnvironments({}, parts)).toThrow('two values for MAIL_STORE: "efs" and "ebs"');
  expect(mergeEnvironments({}, [parts[0], parts[0]])).toEqual({ MAIL_STORE: 'efs' });
});
