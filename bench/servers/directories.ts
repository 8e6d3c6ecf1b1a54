import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { UserDirectory } from '../../bin/users/user-directory';
import type { LocalCluster } from '../../local/cluster';
import type { LocalUser } from '../../local/mail-clients';
import type { LocalNode } from '../../local/node';
import { bootOtherNode } from './other-node';
import { register } from './accounts';

const BUCKET = 'bench-directory';
const OBJECT = `s3://${BUCKET}/users`;

/** What makes a node of a cluster with a database one with a file. */
const FILE = { MAIL_DIRECTORY: 'file', MAIL_DIRECTORY_OBJECT: OBJECT, MAIL_DIRECTORY_STALE_AFTER: '' };

/** Nodes that have the same users, of a file and of a database, each with Dovecot's cache of logins and without. */
export interface Directories {
  readonly file: LocalNode;
  readonly sql: LocalNode;
  readonly fileUncached: LocalNode;
  readonly sqlUncached: LocalNode;
}

/** Boots those that are missing in a cluster of one node with a database; the accounts are in its database already. */
export async function bootDirectories(
  cluster: LocalCluster,
  root: string,
  accounts: LocalUser[],
): Promise<Directories> {
  const s3 = new S3Client(cluster.aws.client);
  await s3.send(new CreateBucketCommand({ Bucket: BUCKET }));
  await register(new UserDirectory(OBJECT, s3), accounts);
  const [sql] = cluster.nodes;
  const [file, fileUncached, sqlUncached] = await Promise.all([
    bootOtherNode(cluster, root, 'file', FILE),
    bootOtherNode(cluster, root, 'file-uncached', FILE),
    bootOtherNode(cluster, root, 'sql-uncached', {}),
  ]);
  await Promise.all([fileUncached, sqlUncached].map(switchCacheOff));
  return { file, sql, fileUncached, sqlUncached };
}

async function switchCacheOff(node: LocalNode): Promise<void> {
  const size = await node.shell(
    "printf 'auth_cache_size = 0\\npassdb password {\\n lua_settings {\\n  remember = 0\\n }\\n}\\n' >/etc/dovecot/mail-platform.d/99-bench.conf && systemctl restart dovecot.service && " +
      'doveconf -h auth_cache_size',
  );
  if (size.trim() !== '0') throw new Error(`the cache of ${node.name} has ${size.trim()}, expected 0`);
  await node.ready(60_000);
}
