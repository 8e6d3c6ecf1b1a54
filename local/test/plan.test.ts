import { offset } from '../plan';

test.each([
  ['10.0.0.0', 10, '10.0.0.10'],
  ['10.0.0.250', 10, '10.0.1.4'],
  ['10.0.0.0', 65534, '10.0.255.254'],
  ['192.168.128.0', 32766, '192.168.255.254'],
])('the address %s + %d is %s', (address, distance, expected) => {
  expect(offset(address, distance)).toBe(expected);
});
