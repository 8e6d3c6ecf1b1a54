import { spawnSync } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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

describe('a shard', () => {
  const ALICE = 'alice@example.com';

  test('is chosen when a user is added, and kept by whatever changes', () => {
    const file = UserFile.parse();
    file.add(ALICE, PASSWORD, { quota: '10G', shard: 2 });
    file.add('bob@example.com', PASSWORD);
    file.change(ALICE, { quota: '', protocols: ['imap'], shard: 2 });
    file.setPassword(ALICE, 'another horse');
    file.put({ address: ALICE, groups: ['team@example.com'] });
    const again = UserFile.parse(file.toString());
    expect(again.users().map(({ address, shard }) => [address, shard])).toEqual([
      [ALICE, 2],
      ['bob@example.com', undefined],
    ]);
  });

  test.each([
    ['of who has none', undefined, 'has mail on the shard that follows from the address'],
    ['of who has one', 1, 'has mail on shard-1'],
  ])('fails to change %s', (_who, shard, message) => {
    const file = UserFile.parse();
    file.put({ address: ALICE, shard });
    const before = file.toString();
    expect(() => file.change(ALICE, { shard: 3 })).toThrow(message);
    expect(() => file.put({ address: ALICE, quota: '1G', shard: 3 })).toThrow('it does not move to shard-3');
    expect(file.toString()).toBe(before);
  });

  test.each([0, 11, 1.5, NaN])('fails when it is %p', (shard) => {
    const file = UserFile.parse();
    expect(() => file.add(ALICE, PASSWORD, { shard })).toThrow(`shard must be a number from 1 to 10, got ${shard}`);
    expect(() => file.put({ address: ALICE, shard })).toThrow('shard must be a number');
    expect(file.addresses()).toEqual([]);
  });
});

describe('app passwords', () => {
  const withAlice = () => {
    const file = UserFile.parse();
    file.add('alice@example.com', PASSWORD, { quota: '10G' });
    return file;
  };

  test('are five groups of four, the first of which the file shows', () => {
    const file = withAlice();
    const password = file.addAppPassword('Alice@example.com', 'phone', ['imap', 'smtp', 'imap']);
    expect(password).toMatch(/^([a-z2-7]{4}-){4}[a-z2-7]{4}$/);
    const [line] = file.toString().split('\n');
    expect(line.split(':')[7]).toMatch(
      new RegExp(`^userdb_quota_storage_size=10G app_password=${password.slice(0, 4)},phone,imap\\+smtp,100000,[^ ]+$`),
    );
    expect(line).not.toContain(password.slice(5));
  });

  test('can be read from the file again, and revoked one by one', () => {
    const file = withAlice();
    file.addAppPassword('alice@example.com', 'phone', ['imap']);
    file.addAppPassword('alice@example.com', 'scanner', ['smtp']);
    const again = UserFile.parse(file.toString());
    expect(again.appPasswords('alice@example.com').map(({ name, protocols }) => [name, protocols])).toEqual([
      ['phone', ['imap']],
      ['scanner', ['smtp']],
    ]);
    again.revokeAppPassword('alice@example.com', 'phone');
    expect(again.appPasswords('alice@example.com').map(({ name }) => name)).toEqual(['scanner']);
    expect(again.toString()).toContain('userdb_quota_storage_size=10G app_password=');
  });

  test.each<[string, (file: UserFile) => void, string]>([
    ['the user is unknown', (file) => file.addAppPassword('bob@example.com', 'phone', ['imap']), 'is not a user'],
    ['the name has a comma', (file) => file.addAppPassword('alice@example.com', 'a,b', ['imap']), 'must be 1 to 40'],
    ['the protocol is unknown', (file) => file.addAppPassword('alice@example.com', 'a', ['imaps']), 'got "imaps"'],
    ['there is no protocol', (file) => file.addAppPassword('alice@example.com', 'a', []), 'got none'],
    ['there is none to revoke', (file) => file.revokeAppPassword('alice@example.com', 'a'), 'has no app password a'],
    [
      'the name is taken',
      (file) => [1, 2].forEach(() => file.addAppPassword('alice@example.com', 'a', ['imap'])),
      'has an app password a already',
    ],
  ])('fails when %s', (_what, change, message) => {
    expect(() => change(withAlice())).toThrow(message);
  });
});

test('disabling a user keeps that a second factor is required', () => {
  const file = UserFile.parse();
  file.add('alice@example.com', PASSWORD);
  file.requireSecondFactor('alice@example.com', true);
  file.setEnabled('alice@example.com', false);
  expect(file.toString()).toMatch(/::::::login=second-factor login=none\n$/);
  file.setEnabled('alice@example.com', true);
  expect(file.toString()).toMatch(/::::::login=second-factor\n$/);
  file.requireSecondFactor('alice@example.com', false);
  expect(file.toString()).toMatch(/::::::\n$/);
});

test('a second factor can be required of a domain, once', () => {
  const file = UserFile.parse('# staff\n');
  file.requireSecondFactor('Example.com', true);
  file.requireSecondFactor('example.com', true);
  expect(file.toString()).toBe('# staff\n@example.com:::::::login=second-factor\n');
  const again = UserFile.parse(file.toString());
  expect(again.addresses()).toEqual([]);
  again.requireSecondFactor('example.com', false);
  expect(again.toString()).toBe('# staff\n@example.com:::::::\n');
  expect(() => again.requireSecondFactor('localhost', true)).toThrow('address must be');
});

describe('aliases, groups, protocols and domains', () => {
  const verifier = scramVerifier(PASSWORD);
  const made = () => {
    const file = UserFile.parse();
    for (const name of ['alice', 'bob']) file.put({ address: `${name}@example.com`, verifier });
    return file;
  };

  test('an alias is its users’, is there once, and can be taken from one of them', () => {
    const file = made();
    file.addAlias('Sales@example.com', 'alice@example.com');
    file.addAlias('sales@example.com', 'alice@example.com');
    file.addAlias('sales@example.com', 'bob@example.com');
    file.addMember('team@example.com', 'bob@example.com');
    expect(file.user('alice@example.com').aliases).toEqual(['sales@example.com']);
    expect(file.user('bob@example.com')).toMatchObject({
      aliases: ['sales@example.com'],
      groups: ['team@example.com'],
    });
    file.removeAlias('sales@example.com', 'alice@example.com');
    file.removeAlias('sales@example.com', 'alice@example.com');
    expect(file.toString()).toBe(
      `alice@example.com:${verifier}::::::\nbob@example.com:${verifier}::::::aliases=sales@example.com groups=team@example.com\n`,
    );
  });

  test('quota and protocols are set and unset', () => {
    const file = made();
    const before = file.toString();
    file.change('alice@example.com', { quota: '10G', protocols: ['imap', 'smtp', 'imap'] });
    expect(file.user('alice@example.com')).toMatchObject({ quota: '10G', protocols: ['imap', 'smtp'] });
    file.change('alice@example.com', { quota: '', protocols: [] });
    expect(file.toString()).toBe(before);
  });

  test('a domain is known, disabled, and forgotten when it has no users', () => {
    const file = made();
    file.addDomain('example.org');
    file.setEnabled('Example.com', false);
    expect(file.domains()).toEqual([
      { name: 'example.org', enabled: true, secondFactor: false },
      { name: 'example.com', enabled: false, secondFactor: false },
    ]);
    file.removeDomain('example.org');
    expect(() => file.removeDomain('example.com')).toThrow(
      'example.com has 2 users, such as alice@example.com; remove them first',
    );
    expect(UserFile.parse(file.toString()).domains()).toEqual([
      { name: 'example.com', enabled: false, secondFactor: false },
    ]);
  });

  test('what is imported twice changes nothing the second time, and what an import does not say stays', () => {
    const file = made();
    file.setEnabled('alice@example.com', false);
    const imported = { address: 'alice@example.com', aliases: ['info@example.com'], quota: '5G' };
    expect(file.put(imported)).toBe(true);
    expect(file.put(imported)).toBe(false);
    expect(file.user('alice@example.com')).toMatchObject({ verifier, enabled: false, quota: '5G' });
    expect(file.put({ address: 'carol@example.com' })).toBe(true);
    expect(file.user('carol@example.com').verifier).toMatch(/,A{43}=,A{43}=$/);
  });

  const wrong: [string, (file: UserFile) => void, string][] = [
    [
      'an alias is a user',
      (file) => file.addAlias('bob@example.com', 'alice@example.com'),
      'bob@example.com is a user',
    ],
    [
      'a user is an alias',
      (file) => file.add('info@example.com', PASSWORD),
      'is an alias or a group of alice@example.com',
    ],
    [
      'an imported user is an alias',
      (file) => file.put({ address: 'info@example.com' }),
      'is an alias or a group of alice',
    ],
    [
      'an imported verifier is weak',
      (file) => file.put({ address: 'x@example.com', verifier: '{SCRAM-SHA-256}4096,a,b,c' }),
      'verifier must be',
    ],
    ['an imported quota is none', (file) => file.put({ address: 'x@example.com', quota: 'much' }), 'quota must be'],
    [
      'an imported alias is none',
      (file) => file.put({ address: 'bob@example.com', quota: '1G', aliases: ['x'] }),
      'address must be',
    ],
    ['a protocol is unknown', (file) => file.change('alice@example.com', { protocols: ['http'] }), 'must be of imap'],
    ['the domain is none', (file) => file.addDomain('localhost'), 'address must be'],
  ];
  test.each(wrong)('fails when %s, and changes nothing', (_what, change, message) => {
    const file = made();
    file.addAlias('info@example.com', 'alice@example.com');
    const before = file.toString();
    expect(() => change(file)).toThrow(message);
    expect(file.toString()).toBe(before);
  });
});

describe('what nodes make of it', () => {
  let folder: string;
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'users-'))));
  afterEach(() => rmSync(folder, { recursive: true }));

  /** Runs the script of the nodes; what it wrote, by name. */
  const split = (text: string) => {
    writeFileSync(join(folder, 'object'), text);
    const script = join(__dirname, '../../assets/node/libexec/directory/users.awk');
    const args = ['-v', 'domains=example.com example.org', '-v', `out=${folder}`, '-f', script, join(folder, 'object')];
    const { status, stdout } = spawnSync('awk', args, { encoding: 'utf8' });
    const read = (name: string) => readFileSync(join(folder, name), 'utf8');
    return {
      ...{ status, stdout, users: read('users'), scramUsers: read('scram-users') },
      ...{ appPasswords: read('app-passwords'), noLogin: read('no-login'), shards: read('shards') },
    };
  };
  const NOBODY = /^alice@example\.com:\{SCRAM-SHA-256\}100000,[^,]+,A{43}=,A{43}=::::::$/m;

  test('users keep their password, and app passwords have a file of their own', () => {
    const file = UserFile.parse();
    file.add('alice@example.com', PASSWORD);
    const [line] = file.toString().split('\n');
    const password = file.addAppPassword('alice@example.com', 'phone', ['imap', 'smtp']);
    const made = split(file.toString());
    expect(made).toMatchObject({ status: 0, stdout: '', users: `${line}\n`, scramUsers: `${line}\n`, noLogin: '' });
    expect(made.appPasswords).toMatch(
      new RegExp(`^alice@example\\.com:${password.slice(0, 4)}:imap\\+smtp:phone:\\{SCRAM-SHA-256\\}100000,[^:]+\n$`),
    );
  });

  test.each([['alice@example.com'], ['example.com']])(
    'the password is nobody’s where %s needs a second factor',
    (whom) => {
      const file = UserFile.parse();
      file.add('alice@example.com', PASSWORD);
      file.add('alice@example.org', PASSWORD);
      file.addAppPassword('alice@example.com', 'phone', ['imap']);
      file.requireSecondFactor(whom, true);
      const made = split(file.toString());
      expect(made).toMatchObject({ status: 0, noLogin: '' });
      expect(made.users).toMatch(NOBODY);
      expect(made.users).toContain(file.toString().split('\n')[1]);
      expect(made.scramUsers).toBe(`${file.toString().split('\n')[1]}\n`);
      expect(made.appPasswords).toContain('alice@example.com:');
    },
  );

  test('who has a shard of their own is named with it', () => {
    const file = UserFile.parse();
    file.put({ address: 'alice@example.com', shard: 2 });
    file.put({ address: 'bob@example.com' });
    expect(split(file.toString())).toMatchObject({ status: 0, shards: 'alice@example.com:shard-2\n' });
    const bad = split(file.toString().replace('shard=2', 'shard=two'));
    expect(bad).toMatchObject({ status: 1, stdout: "line 1: unknown field 'shard=two' of alice@example.com\n" });
  });

  test('who is disabled has no password of any kind', () => {
    const file = UserFile.parse();
    file.add('alice@example.com', PASSWORD);
    file.addAppPassword('alice@example.com', 'phone', ['imap']);
    file.setEnabled('alice@example.com', false);
    const made = split(file.toString());
    expect(made).toMatchObject({ status: 0, appPasswords: '', scramUsers: '', noLogin: 'alice@example.com\n' });
    expect(made.users).toMatch(NOBODY);
  });

  test('mail to aliases and groups goes to their users, who may send from aliases only', () => {
    const file = UserFile.parse();
    for (const name of ['alice', 'bob']) file.put({ address: `${name}@example.com` });
    for (const name of ['alice', 'bob']) file.addAlias('sales@example.com', `${name}@example.com`);
    file.addMember('team@example.org', 'alice@example.com');
    file.addMember('sales@example.com', 'alice@example.com');
    file.change('bob@example.com', { protocols: ['imap', 'smtp'] });
    expect(split(file.toString())).toMatchObject({ status: 0, stdout: '' });
    const lines = (name: string) => readFileSync(join(folder, name), 'utf8').trim().split('\n').sort();
    expect(lines('aliases')).toEqual([
      'sales@example.com alice@example.com, bob@example.com',
      'team@example.org alice@example.com',
    ]);
    expect(lines('senders')).toEqual([
      'alice@example.com alice@example.com',
      'bob@example.com bob@example.com',
      'sales@example.com alice@example.com, bob@example.com',
    ]);
    expect(lines('protocols')).toEqual(['bob@example.com:imap+smtp']);
  });

  test('nobody of a disabled domain logs in', () => {
    const file = UserFile.parse();
    file.add('alice@example.com', PASSWORD);
    file.add('alice@example.org', PASSWORD);
    file.setEnabled('example.com', false);
    const made = split(file.toString());
    expect(made).toMatchObject({ status: 0, noLogin: 'alice@example.com\n' });
    expect(made.users).toMatch(NOBODY);
    expect(made.users).toContain(file.toString().split('\n')[1]);
  });

  const verifier = scramVerifier(PASSWORD);
  const scram = verifier.slice('{SCRAM-SHA-256}'.length);
  test.each([
    [`app_password=abcd,phone,imaps,${scram}`, "unknown protocol 'imaps'"],
    [`app_password=ABCD,phone,imap,${scram}`, 'is not ID,NAME,PROTOCOLS'],
    [`app_password=abcd,phone,imap,${scram.replace('100000', '4096')}`, 'is not ID,NAME,PROTOCOLS'],
    ['app_password=abcd,phone,imap,secret', 'is not ID,NAME,PROTOCOLS'],
    ['protocols=imap+http', "is for the unknown protocol 'http'"],
    ['protocols=', 'is for no protocol'],
    ['groups=team@example.net', "group 'team@example.net' of alice@example.com is no lower-case address"],
    [`app_password=abcd,a,imap,${scram} app_password=abcd,b,imap,${scram}`, 'two app passwords'],
    ['login=sometimes', "unknown field 'login=sometimes'"],
  ])('a file with %j is refused', (fields, problem) => {
    expect(split(`alice@example.com:${verifier}::::::${fields}\n`)).toMatchObject({
      status: 1,
      stdout: expect.stringContaining(problem),
    });
  });

  test.each([
    ['@example.net:::::::login=second-factor', 'example.net'],
    ['@example.com:::::::aliases=a@example.com', "unknown field 'aliases=a@example.com' of @example.com"],
    ['@example.com:x::::::login=none', 'a line for a domain must be'],
  ])('a file with the line %j is refused', (line, problem) => {
    expect(split(`${line}\n`)).toMatchObject({ status: 1, stdout: expect.stringContaining(problem) });
  });
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

test('an alias is added once, may be in any language, and @domain is a catch-all', () => {
  const file = UserFile.parse('alice@example.com:{X}y::::::userdb_quota_storage_size=1G\nbob@example.com:{X}y::::::\n');
  for (const alias of ['Žofia@example.com', 'žofia@example.com', '@example.com']) {
    file.addAlias(alias, 'alice@example.com');
  }
  expect(file.toString().split('\n')[0]).toBe(
    'alice@example.com:{X}y::::::userdb_quota_storage_size=1G aliases=@example.com,žofia@example.com',
  );
  expect(() => file.addAlias('bob@example.com', 'alice@example.com')).toThrow('bob@example.com is a user');
  for (const alias of ['a b@example.com', 'a,b@example.com', 'a+b@example.com', 'a@b@example.com', 'example.com']) {
    expect(() => file.addAlias(alias, 'alice@example.com')).toThrow(/^(alias|address) must be name@domain/);
  }
});
