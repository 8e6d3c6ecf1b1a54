import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** One established TCP connection of this machine. */
export interface Connection {
  readonly localPort: number;
  /** Whether the other end is on this machine too. */
  readonly loopback: boolean;
}

const ESTABLISHED = '01';

// The kernel prints each 32-bit word of an address in host byte order; both of AWS's architectures are little-endian.
const isLoopback = (address: string): boolean =>
  address.length === 8
    ? address.endsWith('7F')
    : address === '00000000000000000000000001000000' || /^0{16}FFFF0000.{6}7F$/.test(address);

/** The established connections in the text of `/proc/net/tcp` or `/proc/net/tcp6`. */
export const parseTcpTable = (table: string): Connection[] =>
  table
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[3] === ESTABLISHED)
    .map(([, local, remote]) => ({
      localPort: parseInt(local.split(':')[1], 16),
      loopback: isLoopback(remote.split(':')[0]),
    }));

/**
 * Counts clients' connections to the mail services.
 *
 * Connections from this machine are left out: they are the agent's own checks, and a drain would wait for them for ever.
 */
export class ClientConnections {
  private readonly ports: ReadonlySet<number>;

  public constructor(
    ports: number[],
    private readonly tables: string = '/proc/net',
  ) {
    this.ports = new Set(ports);
  }

  public async count(): Promise<number> {
    const read = (name: string) => readFile(join(this.tables, name), 'latin1');
    // tcp6 isn't there when the kernel was started without IPv6.
    const tables = await Promise.all([read('tcp'), read('tcp6').catch(() => '')]);
    return tables.flatMap(parseTcpTable).filter(({ localPort, loopback }) => this.ports.has(localPort) && !loopback)
      .length;
  }
}
