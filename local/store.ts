import { mkdirSync } from 'node:fs';
import type { PlannedNode } from './plan';

/** Where nodes expect the mail store. */
export const STORE = '/srv/mail-store';

/** What stands for EFS. */
export interface LocalStore {
  start(): Promise<void>;
  stop(): void;
  /** Arguments of systemd-nspawn that the node needs for it. */
  arguments(): string[];
  /** Files that the node needs for it, text by path. */
  files(node: PlannedNode): { readonly [path: string]: string };
}

/** A folder of this machine, mounted where nodes expect the store. Fast, and always there. */
export class FolderStore implements LocalStore {
  constructor(private readonly folder: string) {}

  public async start(): Promise<void> {
    mkdirSync(this.folder);
  }

  public stop(): void {
    // The folder is the run's, and goes with it.
  }

  public arguments(): string[] {
    return [`--bind=${this.folder}:${STORE}`];
  }

  public files(): { readonly [path: string]: string } {
    return {};
  }
}
