import { putAll, readImport } from '../../bin/users/import';
import { scramVerifier, UserFile } from '../../bin/users/user-file';

const verifier = scramVerifier('correct horse');

test('CSV: columns by name, cells in quotes, and what has no column stays unsaid', () => {
  const text =
    '\uFEFFAddress,aliases,enabled,verifier\r\n' +
    `alice@example.com,"sales@example.com info@example.com",no,"${verifier}"\r\n` +
    'bob@example.com,,,\r\n';
  expect(readImport('csv', text)).toEqual([
    {
      address: 'alice@example.com',
      verifier,
      enabled: false,
      aliases: ['sales@example.com', 'info@example.com'],
    },
    { address: 'bob@example.com', enabled: true, aliases: [] },
  ]);
});

test('CSV: a quote inside quotes is doubled, and the last line needs no end', () => {
  expect(() => readImport('csv', 'address,quota\n"a""b@example.com","10G"')).not.toThrow();
  expect(readImport('csv', 'address,quota\n"a""b@example.com","10G"')[0]).toMatchObject({
    address: 'a"b@example.com',
    quota: '10G',
  });
});

test('SCIM: the primary e-mail is the address, others are aliases', () => {
  const body = {
    schemas: ['urn:ietf:params:scim:api:messages:2.0:ListResponse'],
    totalResults: 2,
    Resources: [
      {
        userName: 'alice',
        active: true,
        emails: [{ value: 'al@example.com' }, { value: 'alice@example.com', primary: true }],
      },
      { userName: 'bob@example.com', active: false },
    ],
  };
  expect(readImport('scim', JSON.stringify(body))).toEqual([
    { address: 'alice@example.com', enabled: true, aliases: ['al@example.com'] },
    { address: 'bob@example.com', enabled: false },
  ]);
});

test('LDAP: directory servers and Active Directory, with groups by the names of their members', () => {
  const entries = [
    {
      dn: 'uid=alice,dc=example',
      mail: 'alice@example.com',
      mailAlternateAddress: ['al@example.com'],
      nsAccountLock: 'TRUE',
    },
    {
      dn: 'CN=Bob,DC=example',
      mail: ['bob@example.com'],
      proxyAddresses: ['SMTP:Bob@example.com', 'smtp:robert@example.com', 'x500:/o=example'],
      userAccountControl: '512',
    },
    { dn: 'CN=Carol,DC=example', mail: 'carol@example.com', userAccountControl: '514' },
    { dn: 'cn=team,dc=example', mail: 'team@example.com', member: ['UID=Alice,dc=example', 'CN=Bob,DC=example'] },
  ];
  expect(readImport('ldap', JSON.stringify(entries))).toEqual([
    { address: 'alice@example.com', enabled: false, aliases: ['al@example.com'], groups: ['team@example.com'] },
    { address: 'bob@example.com', enabled: true, aliases: ['robert@example.com'], groups: ['team@example.com'] },
    { address: 'carol@example.com', enabled: false, groups: [] },
  ]);
});

test('a shard is taken from each, and an empty cell or a host of elsewhere says nothing', () => {
  const csv = 'address,shard\na@example.com,2\nb@example.com,\n';
  const scim = {
    Resources: [
      { userName: 'a@example.com', 'urn:cdk-mail-platform:User': { shard: 2 } },
      { userName: 'b@example.com', 'urn:cdk-mail-platform:User': {} },
    ],
  };
  const ldap = [
    { mail: 'a@example.com', mailHost: 'shard-2' },
    { mail: 'b@example.com', mailHost: 'imap.example.org' },
  ];
  for (const users of [
    readImport('csv', csv),
    readImport('scim', JSON.stringify(scim)),
    readImport('ldap', JSON.stringify(ldap)),
  ]) {
    const file = UserFile.parse();
    expect(putAll(file, users)).toEqual({ users: 2, changed: 2 });
    expect(file.users().map(({ shard }) => shard)).toEqual([2, undefined]);
    expect(putAll(file, users)).toEqual({ users: 2, changed: 0 });
  }
});

test('fails when a user would have to move to another shard, and says who', () => {
  const file = UserFile.parse();
  file.put({ address: 'a@example.com', shard: 1 });
  const users = readImport('csv', 'address,shard\na@example.com,2\n');
  expect(() => putAll(file, users)).toThrow('a@example.com: a@example.com has mail on shard-1');
});

test('a second import changes nothing, and says so', () => {
  const file = UserFile.parse();
  const users = readImport(
    'csv',
    `address,verifier,groups\na@example.com,${'"' + verifier + '"'},team@example.com\nb@example.com,,\n`,
  );
  expect(putAll(file, users)).toEqual({ users: 2, changed: 2 });
  const before = file.toString();
  expect(putAll(file, users)).toEqual({ users: 2, changed: 0 });
  expect(file.toString()).toBe(before);
});

const wrong: [string, 'csv' | 'scim' | 'ldap', string, string][] = [
  ['there are clear passwords', 'csv', 'address,password\na@example.com,secret\n', 'the column password is refused'],
  ['there is no address', 'csv', 'name\nalice\n', 'the first line must name columns of address, verifier'],
  ['a column is there twice', 'csv', 'address,address\na,b\n', 'the first line must name columns'],
  ['a row is short', 'csv', 'address,quota\na@example.com\n', 'row 2 has 1 cells, expected 2'],
  [
    'a flag is none',
    'csv',
    'address,enabled\na@example.com,perhaps\n',
    'row 2: enabled must be yes or no, got "perhaps"',
  ],
  ['a quote has no end', 'csv', 'address\n"a@example.com\n', 'has a quote that is not'],
  ['it is no JSON', 'scim', 'address', 'the file is no JSON'],
  ['it is no list', 'scim', '{}', 'expected a SCIM ListResponse'],
  ['a resource has no address', 'scim', '{"Resources":[{"userName":"alice"}]}', 'resource 1 has neither'],
  ['it is no array', 'ldap', '{}', 'expected an array of LDAP entries'],
  ['an entry has no mail', 'ldap', '[{"dn":"cn=x"}]', 'entry cn=x has no mail'],
];
test.each(wrong)('fails when %s', (_what, kind, text, message) => {
  expect(() => readImport(kind, text)).toThrow(message);
});

test('fails when a user can not be taken, and says which', () => {
  const users = readImport('csv', 'address,quota\na@example.com,1G\nb@example.com,much\n');
  expect(() => putAll(UserFile.parse(), users)).toThrow('b@example.com: quota must be');
});
