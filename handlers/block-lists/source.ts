/** A list to fetch, or one that the owner wrote down. */
export interface BlockListSource {
  /** For logs and for what nodes are told. */
  readonly name: string;
  /** Where it is fetched. @default - `networks` is the list */
  readonly url?: string;
  /** `lines`: a network a line, `#` and `;` begin comments. `spamhaus`: a JSON object a line, metadata last. */
  readonly format?: 'lines' | 'spamhaus';
  /** Fewer than these can't be the whole list. @default 1 */
  readonly least?: number;
  readonly networks?: string[];
}

/** What was fetched is no list; the one of before stays. */
export class RefusedListError extends Error {}

const PATIENCE = 20_000; // milliseconds
const BYTES_MAX = 8 * 1024 * 1024;

/**
 * The networks of a list, as they stand there.
 *
 * @throws RefusedListError when the answer is no such list; what fetch throws when there is none
 */
export async function readSource(source: BlockListSource): Promise<string[]> {
  if (source.url === undefined) {
    return source.networks ?? [];
  }
  const text = await fetchText(source.url);
  return source.format === 'spamhaus' ? spamhausNetworks(text) : lineNetworks(text);
}

async function fetchText(url: string): Promise<string> {
  // A redirect would lead to whom nobody chose.
  const answer = await fetch(url, { redirect: 'error', signal: AbortSignal.timeout(PATIENCE) });
  if (!answer.ok) {
    await answer.body?.cancel();
    throw new Error(`${url} answers ${answer.status}`);
  }
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of answer.body ?? []) {
    bytes += part.length;
    if (bytes > BYTES_MAX) {
      throw new RefusedListError(`it has more than ${BYTES_MAX} bytes`);
    }
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

function lineNetworks(text: string): string[] {
  return text
    .split('\n')
    .map((line) => line.replace(/[#;].*$/, '').trim())
    .filter((line) => line !== '');
}

/**
 * Spamhaus' DROP lists. The last line tells how many there are, so one that was cut off does not pass.
 *
 * @see https://www.spamhaus.org/blocklists/do-not-route-or-peer/
 */
function spamhausNetworks(text: string): string[] {
  const networks: string[] = [];
  let records: unknown;
  for (const line of text.split('\n').filter((each) => each.trim() !== '')) {
    const entry = parse(line);
    if (entry.type === 'metadata') {
      records = entry.records;
    } else if (typeof entry.cidr === 'string') {
      networks.push(entry.cidr);
    } else {
      throw new RefusedListError(`it has a line without a network: ${excerpt(line)}`);
    }
  }
  if (records !== networks.length) {
    throw new RefusedListError(`it has ${networks.length} networks, and says that it has ${records ?? 'nothing'}`);
  }
  return networks;
}

function parse(line: string): { readonly type?: unknown; readonly cidr?: unknown; readonly records?: unknown } {
  try {
    return Object(JSON.parse(line));
  } catch {
    throw new RefusedListError(`it has a line that is no JSON: ${excerpt(line)}`);
  }
}

/** The beginning of a line, for a log: a web page in the place of a list has long ones. */
export function excerpt(line: string): string {
  return JSON.stringify(line.trim().slice(0, 60));
}
