import { createServer, IncomingMessage, Server, ServerResponse } from 'node:http';
import { HEALTH_PATH } from '../../../lib/access/mail-service';
import { HealthReport } from './health';

const answer = (response: ServerResponse, status: number, body: object, headers = {}): void => {
  const text = `${JSON.stringify(body)}\n`;
  response.writeHead(status, {
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(text),
    'Cache-Control': 'no-store',
    Connection: 'close',
    ...headers,
  });
  // Node leaves the body of a HEAD reply out by itself.
  response.end(text);
};

/** An HTTP server, not yet listening, that answers the balancer's health checks from the latest report. */
export const healthServer = (report: () => HealthReport): Server => {
  const handle = (request: IncomingMessage, response: ServerResponse): void => {
    const [path] = (request.url ?? '').split('?');
    if (path !== HEALTH_PATH) return answer(response, 404, { error: `only ${HEALTH_PATH} is here` });
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      return answer(response, 405, { error: 'only GET and HEAD' }, { Allow: 'GET, HEAD' });
    }
    const body = report();
    return answer(response, body.status === 'ok' ? 200 : 503, body);
  };
  const server = createServer(
    { requestTimeout: 5_000, headersTimeout: 5_000, connectionsCheckingInterval: 1_000 },
    handle,
  );
  // Far above what a balancer's health checkers open; clients that only hold connections can't use up descriptors.
  server.maxConnections = 128;
  return server;
};
