import { Template } from 'aws-cdk-lib/assertions';
import { AccessSource, MailAllowlist, MailAllowlistProps } from '../../lib/access';
import { testStack } from '../support/apps';
import { openFindings } from '../support/nag';

function allowlist(props: MailAllowlistProps) {
  const stack = testStack();
  return { stack, list: new MailAllowlist(stack, 'Offices', props) };
}

test('holds its ranges in a prefix list of their number', () => {
  const { stack, list } = allowlist({ cidrs: ['192.0.2.0/24', '198.51.100.7/32'] });
  Template.fromStack(stack).hasResourceProperties('AWS::EC2::PrefixList', {
    AddressFamily: 'IPv4',
    MaxEntries: 2,
    Entries: [{ Cidr: '192.0.2.0/24' }, { Cidr: '198.51.100.7/32' }],
  });
  expect(AccessSource.allowlist(list).ruleCount).toBe(2);
  expect(openFindings(stack)).toEqual([]);
});

test('has room and a name when asked', () => {
  const { stack } = allowlist({ cidrs: ['192.0.2.0/24'], maxEntries: 10, name: 'offices' });
  Template.fromStack(stack).hasResourceProperties('AWS::EC2::PrefixList', {
    MaxEntries: 10,
    PrefixListName: 'offices',
  });
});

test.each<[string, MailAllowlistProps, RegExp]>([
  ['it is empty', { cidrs: [] }, /one range or more, got none/],
  ['a range is none', { cidrs: ['192.0.2.0'] }, /must be an IPv4 range/],
  ['ranges overlap', { cidrs: ['192.0.2.0/24', '192.0.2.128/25'] }, /must not overlap/],
  ['there is no room', { cidrs: ['192.0.2.0/25', '192.0.2.128/25'], maxEntries: 1 }, /^maxEntries must be 2 .* got 1$/],
])('fails when %s', (_what, props, message) => {
  expect(() => allowlist(props)).toThrow(message);
});
