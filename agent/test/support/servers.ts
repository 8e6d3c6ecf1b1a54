import { createServer as createHttpServer, IncomingMessage, RequestListener, Server as HttpServer } from 'node:http';
import { AddressInfo, createServer, Server, Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { PemPair } from './certificate';

/** A server on a free loopback port. */
export interface RunningServer {
  readonly port: number;
  readonly url: string;
  stop(): Promise<void>;
}

const running = async (server: Server | HttpServer, sockets: Set<Socket>): Promise<RunningServer> => {
  server.on(server instanceof HttpServer ? 'connection' : 'newSocket', (socket: Socket) => sockets.add(socket));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const stop = () =>
    new Promise<void>((resolve) => {
      sockets.forEach((socket) => socket.destroy());
      server.close(() => resolve());
    });
  return { port, url: `http://127.0.0.1:${port}`, stop };
};

export const httpServer = (listener: RequestListener): Promise<RunningServer> =>
  running(createHttpServer(listener), new Set());

/** A TCP server, or a TLS one when it gets a certificate. */
export const socketServer = (onSocket: (socket: Socket) => void, tls?: PemPair): Promise<RunningServer> => {
  const sockets = new Set<Socket>();
  const accept = (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    onSocket(socket);
  };
  return running(
    tls ? createTlsServer({ cert: tls.certificate, key: tls.key }, accept) : createServer(accept),
    sockets,
  );
};

export const bodyOf = async (request: IncomingMessage): Promise<string> => {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
};
