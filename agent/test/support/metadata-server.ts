import { httpServer, RunningServer } from './servers';

export interface MetadataServer extends RunningServer {
  /** Values by path below /latest/meta-data/; change them at will. */
  readonly values: { [path: string]: string };
  /** Tokens handed out so far. */
  readonly tokens: string[];
  /** Makes every token invalid that was handed out. */
  revokeTokens(): void;
}

/** Stands in for EC2's instance metadata service, version 2 only. */
export const metadataServer = async (values: { [path: string]: string }): Promise<MetadataServer> => {
  const tokens: string[] = [];
  let valid = new Set<string>();
  const server = await httpServer((request, response) => {
    const end = (status: number, body = '') => response.writeHead(status).end(body);
    if (request.url === '/latest/api/token') {
      if (request.method !== 'PUT') return end(405);
      if (!request.headers['x-aws-ec2-metadata-token-ttl-seconds']) return end(400);
      tokens.push(`token-${tokens.length}`);
      valid.add(tokens.at(-1)!);
      return end(200, tokens.at(-1));
    }
    if (!valid.has(String(request.headers['x-aws-ec2-metadata-token']))) return end(401);
    const value = values[(request.url ?? '').replace('/latest/meta-data/', '')];
    return value === undefined ? end(404) : end(200, value);
  });
  return Object.assign(server, { values, tokens, revokeTokens: () => void (valid = new Set()) });
};
