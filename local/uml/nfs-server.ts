import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import * as path from 'node:path';
import { storeAddress } from '../network';
import type { Plan } from '../plan';
import { Guest, type GuestHost } from './guest';

/** Seconds after which a client that was not heard of loses its locks and opens. */
export const LEASE_SECONDS = 30;

/** Makes the guest that is the file system: NFSv4.1 over TLS under EFS's name, on a disk of its own. */
export function nfsServer(host: GuestHost, plan: Plan, certificate: string): Guest {
  const files = path.join(host.folder, 'store.files');
  mkdirSync(files, { recursive: true });
  cpSync(certificate, path.join(files, 'store.pem'));
  writeFileSync(
    path.join(files, 'stunnel.conf'),
    [
      ...['foreground = no', 'pid =', 'syslog = no', 'output = /dev/console', 'debug = notice'],
      ...['[store]', `accept = ${storeAddress(plan)}:2049`, 'connect = 127.0.0.1:2049'],
      `cert = /srv/run/store.files/store.pem`,
      ...['socket = l:TCP_NODELAY=1', 'socket = r:TCP_NODELAY=1', ''],
    ].join('\n'),
  );
  return new Guest(host, {
    name: 'store',
    address: storeAddress(plan),
    prefixLength: plan.prefixLength,
    memory: 512,
    disk: '4G',
    first: 'start-store',
    environment: { GUEST_LEASE_SECONDS: String(LEASE_SECONDS) },
  });
}
