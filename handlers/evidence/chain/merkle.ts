import { createHash } from 'node:crypto';

/** SHA-256 of the bytes of all parts, one after the other. */
export function sha256(...parts: (Uint8Array | string)[]): Buffer {
  const hash = createHash('sha256');
  parts.forEach((part) => hash.update(part));
  return hash.digest();
}

// Leaves and nodes are hashed with different first bytes, or a node could be passed off as a leaf (RFC 6962, 2.1).
const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);

export function leafHash(data: Uint8Array | string): Buffer {
  return sha256(LEAF, data);
}

function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  return sha256(NODE, left, right);
}

/**
 * Root of a Merkle tree over leaves that come one by one; it keeps one hash for each level.
 *
 * @see https://www.rfc-editor.org/rfc/rfc6962#section-2.1
 */
export class MerkleTree {
  private readonly complete: { hash: Buffer; leaves: number }[] = [];
  private leaves = 0;

  public get count(): number {
    return this.leaves;
  }

  public add(leaf: Buffer): void {
    this.leaves++;
    let top = { hash: leaf, leaves: 1 };
    while (this.complete.at(-1)?.leaves === top.leaves) {
      const left = this.complete.pop()!;
      top = { hash: nodeHash(left.hash, top.hash), leaves: 2 * top.leaves };
    }
    this.complete.push(top);
  }

  /** The root; SHA-256 of nothing for a tree without leaves. */
  public root(): Buffer {
    return this.leaves === 0
      ? sha256()
      : this.complete.map(({ hash }) => hash).reduceRight((right, left) => nodeHash(left, right));
  }
}

/**
 * What proves that a leaf is in the tree: the hashes beside its way up to the root, the lowest first.
 *
 * @see https://www.rfc-editor.org/rfc/rfc6962#section-2.1.1
 */
export function inclusionPath(leaves: Buffer[], index: number): Buffer[] {
  if (leaves.length <= 1) {
    return [];
  }
  const split = largestPowerOfTwoBelow(leaves.length);
  const [left, right] = [leaves.slice(0, split), leaves.slice(split)];
  return index < split
    ? [...inclusionPath(left, index), rootOf(right)]
    : [...inclusionPath(right, index - split), rootOf(left)];
}

/**
 * The root that follows from a leaf and its inclusion path.
 *
 * @returns nothing when the path does not fit a leaf at that index of a tree of that many leaves
 */
export function rootFromPath(leaf: Buffer, index: number, count: number, path: Buffer[]): Buffer | undefined {
  if (index < 0 || index >= count || (count === 1 && path.length > 0)) {
    return undefined;
  }
  if (count === 1) {
    return leaf;
  }
  const beside = path.at(-1);
  if (!beside) {
    return undefined;
  }
  const split = largestPowerOfTwoBelow(count);
  const below = path.slice(0, -1);
  if (index < split) {
    const left = rootFromPath(leaf, index, split, below);
    return left && nodeHash(left, beside);
  }
  const right = rootFromPath(leaf, index - split, count - split, below);
  return right && nodeHash(beside, right);
}

function rootOf(leaves: Buffer[]): Buffer {
  const tree = new MerkleTree();
  leaves.forEach((leaf) => tree.add(leaf));
  return tree.root();
}

function largestPowerOfTwoBelow(count: number): number {
  return 2 ** Math.floor(Math.log2(count - 1));
}
