import { closeSync, openSync, readSync } from 'node:fs';
import { homeOf } from '../../agent/src/ring/home';
import type { WrittenRing } from './rings';

/** A node that wrote to a mailbox that another had taken over. */
export interface DoubleWrite {
  readonly user: string;
  readonly node: string;
  readonly owner: string;
  readonly at: number;
  readonly what: string;
}

const LINE = /^\[(\d{4}-\d\d-\d\d) ([\d:.]+) \+0000\] I \[trace\.c:\d+:trace_(\w+)\] 0-([\w-]+): (.*)$/;
const MAILBOX = /^\/mail\/([^/]+)\/([^/]+)/;

/**
 * Watches who changes which mailbox, from the log of the network store, and holds it against the rings. When a node has
 * changed a mailbox after another one, the first may change it again only after a newer ring made it the home: whatever
 * it does before that is a second writer.
 */
export class StoreAudit {
  public readonly doubleWrites: DoubleWrite[] = [];
  /** Changes of mailboxes that were looked at. */
  public changes = 0;
  private offset = 0;
  private rest = '';
  private readonly paths = new Map<string, string>();
  private readonly owners = new Map<string, { node: string; version: number }>();

  /**
   * @param addresses address of each node, by the name of its export
   * @param rings all rings that were written so far
   */
  constructor(
    private readonly log: string,
    private readonly addresses: ReadonlyMap<string, string>,
    private readonly rings: () => readonly WrittenRing[],
  ) {}

  /** Reads what was logged since the last time. */
  public read(): void {
    const file = openSync(this.log, 'r');
    const buffer = Buffer.alloc(1 << 20);
    try {
      for (;;) {
        const length = readSync(file, buffer, 0, buffer.length, this.offset);
        if (length === 0) return;
        this.offset += length;
        const lines = (this.rest + buffer.toString('latin1', 0, length)).split('\n');
        this.rest = lines.pop()!;
        for (const line of lines) this.take(line);
      }
    } finally {
      closeSync(file);
    }
  }

  private take(line: string): void {
    const [, day, time, operation, node, text] = LINE.exec(line) ?? [];
    if (operation === undefined || operation.endsWith('_cbk')) return;
    const at = Date.parse(`${day}T${time.slice(0, 12)}Z`);
    const handle = `${node} ${/fd=(0x[0-9a-f]+)/.exec(text)?.[1]}`;
    switch (operation) {
      case 'release':
        return void this.paths.delete(handle);
      case 'open':
        return void this.paths.set(handle, field(text, 'path'));
      case 'create':
        this.paths.set(handle, field(text, 'path'));
        return this.changed(node, field(text, 'path'), operation, at);
      case 'writev':
      case 'ftruncate':
        return this.changed(node, this.paths.get(handle) ?? '', operation, at);
      case 'rename':
      case 'link':
        return this.changed(node, field(text, 'newpath'), operation, at);
      case 'mkdir':
      case 'rmdir':
      case 'unlink':
      case 'truncate':
      case 'symlink':
        return this.changed(node, field(text, 'path'), operation, at);
    }
  }

  private changed(node: string, path: string, operation: string, at: number): void {
    const [, domain, name] = MAILBOX.exec(path) ?? [];
    const address = this.addresses.get(node);
    if (name === undefined || address === undefined) return;
    this.changes++;
    const user = `${name}@${domain}`;
    const owner = this.owners.get(user);
    if (owner?.node === node) return;
    const ring = this.rings().find(
      ({ version, at: written, addresses }) =>
        version > (owner?.version ?? 0) && written < at && homeOf(user, addresses) === address,
    );
    if (ring) this.owners.set(user, { node, version: ring.version });
    else this.doubleWrites.push({ user, node, owner: owner?.node ?? 'nobody', at, what: `${operation} ${path}` });
  }
}

function field(text: string, name: string): string {
  return (
    new RegExp(`(?:^|[ (])${name}=([^,]*?)(?: (?:mode|flags?|umask|fd|-->|offset)\\b|,|\\)|$)`).exec(text)?.[1] ?? ''
  );
}
