import { BlockList, isIP } from 'node:net';
import { excerpt, RefusedListError } from './source';

/** What no block list may name: no client ever comes from there, or all of them do (RFC 6890). */
const PRIVATE = [
  ...['0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '169.254.0.0/16', '172.16.0.0/12'],
  ...['192.0.0.0/24', '192.168.0.0/16', '224.0.0.0/4', '240.0.0.0/4'],
];

/** Of IPv6, what is given out to networks at all (IANA). */
const GLOBAL_UNICAST = { address: '2000::', prefix: 3 };

/** Larger networks than these nobody is listed with as a whole. */
const SHORTEST = { ipv4: 10, ipv6: 19 };

/** More than any list has, and what a node's firewall still takes in a second. */
const NETWORKS_MAX = 50_000;

/** Share of all IPv4 addresses that a list may cover. DROP has 0.4 %. */
const SHARE_MAX = 0.02;

/** A list may grow by so many whatever its size was. */
const GROWTH_FREE = 100;

export interface Expectations {
  /** Fewer networks can't be the whole list. */
  readonly least: number;
  /** Ranges of our own and of whom the owner lets in. */
  readonly protectedRanges: string[];
  /** Percent by which a list may grow from one time to the next. */
  readonly growthMax: number;
  /** How many networks it had before. @default - it is new */
  readonly before?: number;
}

interface Network {
  readonly text: string;
  readonly address: string;
  readonly prefix: number;
  readonly family: 'ipv4' | 'ipv6';
}

/**
 * Checks that a list can be meant: a poisoned one would shut everybody out, or the owner. One bad entry condemns the whole.
 *
 * @returns its networks in CIDR notation, each once
 * @throws RefusedListError that says why
 */
export function checkNetworks(texts: string[], expectations: Expectations): string[] {
  if (texts.length > NETWORKS_MAX) {
    throw new RefusedListError(`it has ${texts.length} networks, more than ${NETWORKS_MAX}`);
  }
  const networks = texts.map(readNetwork);
  for (const { text, family, prefix } of networks) {
    if (prefix < SHORTEST[family]) {
      throw new RefusedListError(`${text} is larger than any network that is listed, /${SHORTEST[family]}`);
    }
  }
  refuseRanges(networks, PRIVATE, 'no address of the internet');
  refuseRanges(networks, expectations.protectedRanges, 'ours, or let in by the owner');
  const globalUnicast = new BlockList();
  globalUnicast.addSubnet(GLOBAL_UNICAST.address, GLOBAL_UNICAST.prefix, 'ipv6');
  const odd = networks.find(({ family, address }) => family === 'ipv6' && !globalUnicast.check(address, 'ipv6'));
  if (odd) {
    throw new RefusedListError(`${odd.text} is no address of the internet`);
  }
  const share = networks
    .filter(({ family }) => family === 'ipv4')
    .reduce((sum, { prefix }) => sum + 1 / 2 ** prefix, 0);
  if (share > SHARE_MAX) {
    throw new RefusedListError(
      `it covers ${(100 * share).toFixed(1)} % of all IPv4 addresses, more than ${100 * SHARE_MAX} %`,
    );
  }
  const unique = [...new Set(networks.map(({ address, prefix }) => `${address}/${prefix}`))];
  checkCount(unique.length, expectations);
  return unique;
}

function readNetwork(text: string): Network {
  const match = /^([0-9a-fA-F:.]+?)(?:\/(\d{1,3}))?$/.exec(text);
  const version = match ? isIP(match[1]) : 0;
  const whole = version === 4 ? 32 : 128;
  const prefix = match?.[2] === undefined ? whole : Number(match[2]);
  if (!match || version === 0 || prefix > whole) {
    throw new RefusedListError(`it has a line that is no network: ${excerpt(text)}`);
  }
  return { text, address: match[1].toLowerCase(), prefix, family: version === 4 ? 'ipv4' : 'ipv6' };
}

/** Two ranges overlap when one of them has the other's first address. */
function refuseRanges(networks: Network[], ranges: string[], what: string): void {
  const forbidden = ranges.map(readNetwork);
  const inForbidden = blockList(forbidden);
  const inside = networks.find(({ address, family }) => inForbidden.check(address, family));
  if (inside) {
    throw new RefusedListError(`${inside.text} is ${what}`);
  }
  const inNetworks = blockList(networks);
  const around = forbidden.find(({ address, family }) => inNetworks.check(address, family));
  if (around) {
    throw new RefusedListError(`it has a network around ${around.text}, which is ${what}`);
  }
}

function blockList(networks: Network[]): BlockList {
  const list = new BlockList();
  networks.forEach(({ address, prefix, family }) => list.addSubnet(address, prefix, family));
  return list;
}

function checkCount(count: number, { least, growthMax, before }: Expectations): void {
  if (count < least) {
    throw new RefusedListError(`it has ${count} networks, fewer than ${least}`);
  }
  if (before !== undefined && count > before * (1 + growthMax / 100) + GROWTH_FREE) {
    throw new RefusedListError(
      `it grew from ${before} to ${count} networks, by more than ${growthMax} %; raise growthMax if that is right`,
    );
  }
}
