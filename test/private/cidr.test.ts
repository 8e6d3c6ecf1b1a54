import { Fn } from 'aws-cdk-lib';
import { parseCidr, parseCidrs } from '../../lib/private/cidr';

test.each([
  ['0.0.0.0/0', 0, 2 ** 32 - 1],
  ['192.0.2.0/24', 0xc0000200, 0xc00002ff],
  ['255.255.255.255/32', 2 ** 32 - 1, 2 ** 32 - 1],
])('reads %s', (text, first, last) => {
  expect(parseCidr('cidrs', text)).toMatchObject({ first, last });
});

test.each(['', 'office', '192.0.2.0', '192.0.2.0/33', '192.0.2.256/32', ' 192.0.2.0/24'])(
  'fails when %j is no range',
  (text) => {
    expect(() => parseCidr('cidrs', text)).toThrow(`cidrs must be an IPv4 range such as 192.0.2.0/24, got "${text}"`);
  },
);

test('fails when the range is IPv6, and says why', () => {
  expect(() => parseCidr('cidrs', '2001:db8::/32')).toThrow(/the balancer has IPv4 addresses only/);
});

test('fails when the address is not the first of its range, and names that', () => {
  expect(() => parseCidr('cidrs', '192.0.2.77/24')).toThrow('got 192.0.2.77/24; write 192.0.2.0/24');
});

test.each([[['10.0.0.0/8', '10.1.0.0/16']], [['10.1.0.0/16', '192.0.2.0/24', '10.0.0.0/8']]])(
  'fails when ranges overlap: %j',
  (texts) => {
    expect(() => parseCidrs('cidrs', texts)).toThrow('cidrs must not overlap, got 10.0.0.0/8 and 10.1.0.0/16');
  },
);

test('fails when a range is there twice', () => {
  expect(() => parseCidrs('cidrs', ['192.0.2.0/24', '192.0.2.0/24'])).toThrow(/must not overlap/);
});

test('neighbours do not overlap', () => {
  expect(parseCidrs('cidrs', ['10.0.1.0/24', '10.0.0.0/24'])).toHaveLength(2);
});

test('fails when a range is not known yet', () => {
  expect(() => parseCidr('exempt', Fn.ref('Office'))).toThrow(
    'exempt must be known when the stack is synthesised, got a token; write the range',
  );
});
