import { readFile } from 'node:fs/promises';

/** Where Postfix finds rspamd, and rspamd ClamAV (assets/node/signing, assets/node/filtering). */
export const RSPAMD_SOCKET = '/run/rspamd/milter.sock';
export const CLAMD_SOCKET = '/run/clamav/clamd.ctl';

/** __SO_ACCEPTCON, which the kernel shows for a socket that takes connections: net/unix/af_unix.c, unix_seq_show. */
const LISTENING = '00010000';

/** Those of the sockets that nobody listens at. It takes no right to connect to them. */
export const deafSockets = async (sockets: string[], table: string = '/proc/net/unix'): Promise<string[]> => {
  const lines = (await readFile(table, 'utf8')).split('\n').map((line) => line.trim().split(/\s+/));
  const listening = new Set(lines.filter(([, , , flags]) => flags === LISTENING).map((fields) => fields[7]));
  return sockets.filter((socket) => !listening.has(socket));
};
