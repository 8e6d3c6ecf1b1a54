import type { LocalCluster } from '../../local/cluster';
import type { LocalNode } from '../../local/node';
import { bootOtherNode } from './other-node';

const CONFIGURATION = '/etc/dovecot/mail-platform.d/99-bench.conf';
const HARDENING = '/etc/systemd/system/dovecot.service.d/mail-platform.conf';

/** What a node of ours does otherwise than Debian's default, and how to leave it out: lines of Dovecot's configuration, or a script. */
export const WITHOUT = {
  // Nothing: what the others are compared with, a node alone in its cluster as they are.
  alone: {},
  // Each command told to Dovecot's stats process, which Debian does not either.
  'all-commands': { dovecot: 'metric imap_command {\n  filter = event=imap_command_finished\n}' },
  'no-metrics': { dovecot: 'stats_writer_socket_path =' },
  'no-compression': { dovecot: 'mail_plugins {\n  mail_compress = no\n}' },
  // As glibc has it.
  'plain-malloc': { dovecot: 'import_environment {\n  GLIBC_TUNABLES =\n}' },
  'no-fsync': { dovecot: 'mail_fsync = optimized' },
  'no-nfs': { dovecot: 'mmap_disable = no' },
  'no-search': { dovecot: 'mail_plugins {\n  fts = no\n  fts_flatcurve = no\n}\nfts_autoindex = no' },
  // Sandbox and capabilities; limits of files and processes stay.
  'no-hardening': {
    script: `sed -i '/^# Ports below 1024/,$d' ${HARDENING} && systemctl daemon-reload`,
  },
} as const satisfies { [variant: string]: { readonly dovecot?: string; readonly script?: string } };

export type Without = keyof typeof WITHOUT;

/** Boots a node of ours that leaves one thing out. */
export async function bootWithout(cluster: LocalCluster, root: string, name: Without): Promise<LocalNode> {
  const left: { readonly dovecot?: string; readonly script?: string } = WITHOUT[name];
  const node = await bootOtherNode(cluster, root, name, {});
  const configure = left.script ?? `cat >${CONFIGURATION}`;
  await node.exec(['bash', '-euc', configure], { input: `${left.dovecot ?? ''}\n` });
  await node.shell('doveconf -n >/dev/null && systemctl restart dovecot.service');
  await node.ready(60_000);
  return node;
}
