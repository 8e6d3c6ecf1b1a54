import { createHmac } from 'node:crypto';
import { checkAddress, scramVerifier, UserFile } from '../../bin/users/user-file';

const PASSWORD = 'correct horse';

// https://www.rfc-editor.org/rfc/rfc7677#section-3
test('computes the verifier of RFC 7677', () => {
  const salt = Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64');
  const [, iterations, , storedKey, serverKey] = /^\{SCRAM-SHA-256\}(\d+),([^,]+),([^,]+),([^,]+)$/.exec(
    scramVerifier('pencil', { iterations: 4096, salt }),
  )!;
  expect(iterations).toBe('4096');
  const nonce = 'rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0';
  const authMessage = `n=user,r=rOprNGfwEbeRWgbNEkqO,r=${nonce},s=${salt.toString('base64')},i=4096,c=biws,r=${nonce}`;
  const serverSignature = createHmac('sha256', Buffer.from(serverKey, 'base64')).update(authMessage).digest('base64');
  expect(serverSignature).toBe('6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=');
  expect(Buffer.from(storedKey, 'base64')).toHaveLength(32);
});

test('uses 100 000 rounds and another salt each time', () => {
  expect(scramVerifier(PASSWORD)).toMatch(/^\{SCRAM-SHA-256\}100000,/);
  expect(scramVerifier(PASSWORD)).not.toBe(scramVerifier(PASSWORD));
});

test('the same password typed in two ways has one verifier', () => {
  const salt = Buffer.alloc(16);
  expect(scramVerifier('cafe\u0301 noir', { salt })).toBe(scramVerifier('caf\u00e9 noir', { salt }));
});

test('adds, changes and removes users, and keeps everything else', () => {
  const file = UserFile.parse('# staff\nbob@example.com:{SCRAM-SHA-256}1,a,b,c::::::userdb_quota_storage_size=1G\n');
  file.add('Alice@Example.com', PASSWORD, { quota: '10G' });
  file.setPassword('bob@example.com', PASSWORD);
  expect(file.addresses()).toEqual(['bob@example.com', 'alice@example.com']);
  const lines = file.toString().split('\n');
  expect(lines[0]).toBe('# staff');
  expect(lines[1]).toMatch(/^bob@example\.com:\{SCRAM-SHA-256\}100000,[^:]+::::::userdb_quota_storage_size=1G$/);
  expect(lines[2]).toMatch(/^alice@example\.com:\{SCRAM-SHA-256\}100000,[^:]+::::::userdb_quota_storage_size=10G$/);
  expect(lines[3]).toBe('');
  file.remove('bob@example.com');
  expect(UserFile.parse(file.toString()).addresses()).toEqual(['alice@example.com']);
  expect(file.has('ALICE@example.com')).toBe(true);
});

test('a user has the eight fields of a passwd-file', () => {
  const file = UserFile.parse();
  file.add('alice@example.com', PASSWORD);
  expect(file.toString().trimEnd().split(':')).toHaveLength(8);
});

test.each([
  'alice',
  'alice@localhost',
  'alice@@example.com',
  'al:ice@example.com',
  'alice+tag@example.com',
  '../alice@example.com',
  '.alice@example.com',
  'alice@-example.com',
  'alice@example.com\nroot@example.com',
  `${'a'.repeat(65)}@example.com`,
])('fails when the address is %j', (address) => {
  expect(() => checkAddress(address)).toThrow('address must be name@domain');
});

test.each([
  ['is empty', '', 'characters or more'],
  ['is short', 'seven77', '8 characters or more'],
  ['holds a control character', 'good pass\u0007word', 'control or invisible'],
  ['holds an invisible character', 'good pass\u200bword', 'control or invisible'],
  ['holds a ligature', 'good pa\ufb01ssword', 'different ways'],
  ['is longer than 1024 bytes', 'é'.repeat(513), 'at most 1024 bytes'],
])('fails when the password %s, without repeating it', (_name, password, message) => {
  const error = (() => {
    try {
      UserFile.parse().add('alice@example.com', password);
    } catch (thrown) {
      return (thrown as Error).message;
    }
    return '';
  })();
  expect(error).toContain(message);
  expect(password === '' || !error.includes(password)).toBe(true);
});

test('fails when the user is there already', () => {
  const file = UserFile.parse();
  file.add('alice@example.com', PASSWORD);
  expect(() => file.add('ALICE@example.com', PASSWORD)).toThrow('alice@example.com is a user already');
});

test('fails when the user is not there', () => {
  expect(() => UserFile.parse().remove('alice@example.com')).toThrow('alice@example.com is not a user');
});

test('fails when the quota is no size', () => {
  expect(() => UserFile.parse().add('alice@example.com', PASSWORD, { quota: '10 GB' })).toThrow('quota must be');
});

test.each([
  ['no verifier', 'alice@example.com\n', 'line 1: expected address:{SCHEME}verifier'],
  ['a user twice', 'a@b.de:{X}y\n\na@b.de:{X}z\n', 'line 3: a@b.de is there twice'],
])('fails when the file has %s', (_name, text, message) => {
  expect(() => UserFile.parse(text)).toThrow(message);
});

test('a mark of erasure replaces the user, names nobody, and is kept until it is taken away', () => {
  const file = UserFile.parse();
  file.add('bob@example.com', PASSWORD);
  file.erase('Bob@example.com', new Date('2026-11-22T12:00:00.123Z'), new Date('2026-11-24T12:00:00Z'));
  expect(file.addresses()).toEqual([]);
  const subject = '5ff860bf1190596c7188ab851db691f0f3169c453936e9e1eba2f9a47f7a0018'; // printf bob@example.com | sha256sum
  expect(file.toString()).toBe(`#erased ${subject} 2026-11-22T12:00:00Z 2026-11-24T12:00:00Z\n`);
  const again = UserFile.parse(file.toString());
  again.erase('bob@example.com', new Date());
  expect(again.toString()).toBe(`#erased ${subject} 2026-11-22T12:00:00Z held\n`);
  expect(() => again.add('bob@example.com', PASSWORD)).toThrow('mail of bob@example.com is being erased, or was');
  again.unerase('bob@example.com');
  expect(again.toString()).toBe('');
});

test('aliases are addresses of the cluster, too', () => {
  const line = 'alice@example.com:{X}y::::::userdb_quota_storage_size=1G aliases=info@example.com,Team@example.com\n';
  expect(UserFile.parse(line).allAddresses()).toEqual(['alice@example.com', 'info@example.com', 'team@example.com']);
});
