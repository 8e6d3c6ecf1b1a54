import { App } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { companyMail } from '../company-mail';

const template = Template.fromStack(companyMail(new App()));

// A new version of the library brings a new node bundle; its hash alone is no change to look at.
expect.addSnapshotSerializer({
  test: (value) => typeof value === 'string' && /[0-9a-f]{64}/.test(value),
  serialize: (value: string) => JSON.stringify(value.replace(/[0-9a-f]{64}/g, '[hash]')),
});

test('the stack is as reviewed', () => {
  expect(template.toJSON()).toMatchSnapshot();
});

test('submission is for the office only', () => {
  template.hasResourceProperties('AWS::EC2::SecurityGroup', {
    SecurityGroupIngress: Match.arrayWith([Match.objectLike({ FromPort: 587, CidrIp: '198.51.100.0/24' })]),
  });
});
