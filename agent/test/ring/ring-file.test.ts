import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { homeOf } from '../../src/ring/home';
import { RingView, serves, writeRing } from '../../src/ring/ring-file';
import { temporaryFolder } from '../support/temporary-folder';

const NODES = ['10.0.0.1', '10.0.0.2'];
const VIEW: RingView = {
  version: 7,
  self: '10.0.0.1',
  serving: true,
  settled: false,
  nodes: NODES,
  was: ['10.0.0.1'],
  leaving: ['10.0.0.3'],
};
const USERS = Array.from({ length: 50 }, (_, index) => `user${index}@example.com`);
const own = USERS.filter((user) => homeOf(user, NODES) === VIEW.self);

test('is replaced as a whole and readable for Dovecot', () => {
  const folder = temporaryFolder();
  const umask = process.umask(0o077);
  writeRing(join(folder, 'ring'), { ...VIEW, serving: false });
  writeRing(join(folder, 'ring'), VIEW);
  process.umask(umask);
  expect(readFileSync(join(folder, 'ring'), 'utf8')).toBe(
    'version\t7\nself\t10.0.0.1\nstate\tserving\nsettled\tno\nnode\t10.0.0.1\nnode\t10.0.0.2\nwas\t10.0.0.1\nleaving\t10.0.0.3\n',
  );
  expect(statSync(join(folder, 'ring')).mode & 0o777).toBe(0o644);
  expect(readdirSync(folder)).toEqual(['ring']);
});

test('without a lease nobody is served', () => {
  expect(USERS.filter((user) => serves({ ...VIEW, serving: false, settled: true }, user))).toEqual([]);
});

test('in a settled ring its own users are served, and no other', () => {
  expect(USERS.filter((user) => serves({ ...VIEW, settled: true }, user))).toEqual(own);
});

test('before it is settled only those are served who were its own all the time', () => {
  expect(USERS.filter((user) => serves(VIEW, user))).toEqual(own);
  expect(USERS.filter((user) => serves({ ...VIEW, was: [] }, user))).toEqual([]);
  expect(USERS.filter((user) => serves({ ...VIEW, was: ['10.0.0.2'] }, user))).toEqual([]);
});
