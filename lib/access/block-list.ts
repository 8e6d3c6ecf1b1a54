import { Token } from 'aws-cdk-lib';
import { parseCidrs } from '../private/cidr';

/** How the list at an address is written. */
export enum BlockListFormat {
  /** An address or a network in CIDR notation to a line; `#` and `;` begin comments. */
  LINES = 'lines',
  /** Spamhaus' DROP lists: a JSON object to a line, with how many there are at the end. */
  SPAMHAUS = 'spamhaus',
}

/** Options of `BlockList.fromUrl`. */
export interface UrlBlockListOptions {
  /** Name in logs: 1 to 40 lower-case letters, digits and hyphens. */
  readonly name: string;

  /** Where it is fetched: https, without a password. An answer of more than 8 MiB is refused. */
  readonly url: string;

  /** @default BlockListFormat.LINES */
  readonly format?: BlockListFormat;

  /**
   * Networks that the list has at least; with fewer it is refused.
   * @default 1
   */
  readonly networksMin?: number;
}

/** Networks that may not reach the mail system, and where they are listed. */
export class BlockList {
  /** Exits of the Tor network, some 1200 addresses; 200 at least. Nobody who reads company mail comes from there. */
  public static torExits(): BlockList {
    return BlockList.fromUrl({
      name: 'tor-exits',
      url: 'https://check.torproject.org/torbulkexitlist',
      networksMin: 200,
    });
  }

  /**
   * Spamhaus' DROP and DROPv6: some 1700 networks that were hijacked, or that criminals rent. Free of charge, also in companies.
   *
   * @see https://www.spamhaus.org/blocklists/do-not-route-or-peer/
   */
  public static spamhausDrop(): BlockList {
    const at = (version: string) => ({
      url: `https://www.spamhaus.org/drop/drop_${version}.json`,
      format: BlockListFormat.SPAMHAUS,
    });
    return new BlockList([
      { name: 'spamhaus-drop', ...at('v4'), least: 200 },
      { name: 'spamhaus-drop-v6', ...at('v6'), least: 10 },
    ]);
  }

  /**
   * A list of yours, or of somebody else, at an address.
   *
   * @throws when the name, the address or the number can't be right
   */
  public static fromUrl(options: UrlBlockListOptions): BlockList {
    const { name, url, format = BlockListFormat.LINES, networksMin = 1 } = options;
    checkName(name);
    if (!Token.isUnresolved(url) && !/^https:\/\/[a-z0-9.-]+(:\d{1,5})?\/[^\s@]*$/.test(url)) {
      throw new Error(`url of the block list ${name} must be https:// with a path and no password, got ${url}`);
    }
    if (!Number.isInteger(networksMin) || networksMin < 1 || networksMin > 50_000) {
      throw new Error(
        `networksMin of the block list ${name} must be a whole number from 1 to 50000, got ${networksMin}`,
      );
    }
    return new BlockList([{ name, url, format, least: networksMin }]);
  }

  /**
   * IPv4 ranges that are known now; at most 40, for longer lists `fromUrl`.
   *
   * @throws when there is none or are more, when one can't be read, or when two overlap
   */
  public static networks(name: string, cidrs: string[]): BlockList {
    checkName(name);
    if (cidrs.length === 0 || cidrs.length > 40) {
      throw new Error(
        `the block list ${name} must have 1 to 40 networks, got ${cidrs.length}; put longer ones at an address (fromUrl)`,
      );
    }
    parseCidrs(`the block list ${name}`, cidrs);
    return new BlockList([{ name, networks: cidrs }]);
  }

  private constructor(
    /** What the function reads. */
    public readonly sources: BlockListSource[],
  ) {}
}

/** A source as the function that fetches it is told; handlers/block-lists/source.ts. */
export interface BlockListSource {
  readonly name: string;
  readonly url?: string;
  readonly format?: string;
  readonly least?: number;
  readonly networks?: string[];
}

function checkName(name: string): void {
  if (!/^[a-z0-9-]{1,40}$/.test(name)) {
    throw new Error(
      `name of a block list must be 1 to 40 lower-case letters, digits and hyphens, got ${JSON.stringify(name)}`,
    );
  }
}
