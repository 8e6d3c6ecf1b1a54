import { execFile, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { json } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { putAll, readImport } from '../../bin/users/import';
import { UserFile } from '../../bin/users/user-file';

const PAGE = readFileSync(path.join(__dirname, '..', '..', 'docs', 'migrate-from-workmail.md'), 'utf8');

/** The lines of the page that write users.csv. */
const [LINES] = [...PAGE.matchAll(/^```sh\n([\s\S]*?)^mail-users import/gm)].map(([, lines]) => lines);

const ALICE = '11111111-1111-4111-8111-111111111111';
const BOB = 'S-1-1-12-1234567890-123456789-123456789-1234';
const TEAM = '33333333-3333-4333-8333-333333333333';
const ALL = '44444444-4444-4444-8444-444444444444';

/** Answers as https://docs.aws.amazon.com/workmail/latest/APIReference/ has them, by operation and whom it is asked of. */
const ANSWERS: { readonly [question: string]: object } = {
  ListUsers: {
    Users: [
      user(ALICE, 'alice@example.com'),
      user(BOB, 'bob@example.org'),
      user('22222222-2222-4222-8222-222222222222', 'left@example.com', { State: 'DISABLED' }),
      user('r-0123456789a0123456789b0123456789', 'room@example.com', { UserRole: 'RESOURCE' }),
      user('55555555-5555-4555-8555-555555555555', 'test@company.awsapps.com'),
      { Id: '66666666-6666-4666-8666-666666666666', Name: 'admin', State: 'DISABLED', UserRole: 'SYSTEM_USER' },
    ],
  },
  ListGroups: {
    Groups: [
      { Id: TEAM, Email: 'team@example.com', Name: 'team', State: 'ENABLED' },
      { Id: ALL, Email: 'all@example.com', Name: 'all', State: 'ENABLED' },
      { Id: '77777777-7777-4777-8777-777777777777', Name: 'never enabled', State: 'DISABLED' },
    ],
  },
  [`ListGroupMembers ${TEAM}`]: { Members: [member(ALICE), member(BOB)] },
  [`ListGroupMembers ${ALL}`]: { Members: [member(ALICE), member(TEAM, 'GROUP')] },
  [`ListAliases ${ALICE}`]: { Aliases: ['al@example.com', 'alice@company.awsapps.com', 'sales@example.org'] },
  [`ListAliases ${BOB}`]: { Aliases: [] },
  [`GetMailboxDetails ${ALICE}`]: { MailboxQuota: 51200, MailboxSize: 1234.5 },
  [`GetMailboxDetails ${BOB}`]: { MailboxQuota: 10240, MailboxSize: 0 },
};

function user(Id: string, Email: string, more: object = {}) {
  return { Id, Email, Name: Email.split('@')[0], DisplayName: 'X', State: 'ENABLED', UserRole: 'USER', ...more };
}

function member(Id: string, Type = 'USER') {
  return { Id, Name: 'X', Type, State: 'ENABLED', EnabledDate: 1546300800 };
}

// moto has no WorkMail: the real command asks a server that knows no more than the answers above.
const server = createServer((request, response) => {
  void json(request).then((body) => {
    const { OrganizationId, UserId, EntityId, GroupId } = body as { [field: string]: string | undefined };
    const operation = String(request.headers['x-amz-target']).replace('WorkMailService.', '');
    const answer = ANSWERS[[operation, UserId ?? EntityId ?? GroupId].filter(Boolean).join(' ')];
    response.statusCode = answer && OrganizationId?.startsWith('m-') ? 200 : 400;
    response.end(JSON.stringify(answer ?? { __type: 'EntityNotFoundException' }));
  });
});

const aws = spawnSync('aws', ['--version']).error === undefined;
const describeWithCli = aws ? describe : describe.skip;
if (!aws) {
  console.warn('the AWS CLI is not installed: the export of docs/migrate-from-workmail.md was not tested');
}

describeWithCli('docs/migrate-from-workmail.md', () => {
  let folder: string;
  let exported: string;

  beforeAll(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'workmail-'));
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const env = {
      ...process.env,
      AWS_ENDPOINT_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      AWS_REGION: 'eu-west-1',
      AWS_DEFAULT_REGION: 'eu-west-1',
      AWS_ACCESS_KEY_ID: 'test',
      AWS_SECRET_ACCESS_KEY: 'test',
    };
    await promisify(execFile)('bash', ['-euo', 'pipefail', '-c', LINES], { cwd: folder, env });
    exported = readFileSync(path.join(folder, 'users.csv'), 'utf8');
  }, 60_000);

  afterAll(() => {
    server.close();
    rmSync(folder, { recursive: true });
  });

  test('its lines write people, sizes, aliases and groups of the domains that are served', () => {
    expect(exported).toBe(
      'address,quota,aliases,groups\n' +
        'alice@example.com,51200M,al@example.com sales@example.org,team@example.com all@example.com\n' +
        'bob@example.org,10240M,,team@example.com\n',
    );
  });

  test('mail-users imports them, and a second time changes nothing', () => {
    const file = UserFile.parse();
    const users = readImport('csv', exported);
    expect(putAll(file, users)).toEqual({ users: 2, changed: 2 });
    expect(file.users()).toMatchObject([
      { address: 'alice@example.com', quota: '51200M', aliases: ['al@example.com', 'sales@example.org'] },
      { address: 'bob@example.org', quota: '10240M', aliases: [], groups: ['team@example.com'] },
    ]);
    expect(putAll(file, users)).toEqual({ users: 2, changed: 0 });
  });
});
