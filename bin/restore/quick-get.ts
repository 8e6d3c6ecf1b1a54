import type { IncomingMessage } from 'node:http';
import { GetObjectCommand, GetObjectCommandOutput, S3Client } from '@aws-sdk/client-s3';

/** An object that S3 gives, whose content is still to be read. */
export interface OpenObject {
  readonly metadata: Readonly<Record<string, string>>;
  /** Bytes, where S3 says so. */
  readonly size?: number;
  /** SHA-256 that S3 keeps, base64, where it does. */
  readonly checksum?: string;
  /** Reads it. Must be called, so that the connection can be used again. */
  body(): Promise<Buffer>;
}

/** What S3 is asked with, as the SDK asks it. */
type Request = Parameters<Awaited<ReturnType<S3Client['config']['signer']>>['sign']>[0];

/**
 * GETs many objects of one bucket: with the SDK's credentials, signatures and connections, and past its thirty middlewares, which take more of
 * the processor than all else that is done for a message. Where S3 is, it has seen the SDK go; whatever is not simply
 * answered is asked again through the SDK, which knows faults, and how often to try.
 *
 * Checksums are told and not compared.
 */
export class QuickGet {
  /** The latest GET of an object as the SDK made it, without the key at the end of its path. */
  private known?: Request;
  private signer?: ReturnType<S3Client['config']['signer']>;

  constructor(
    private readonly client: S3Client,
    private readonly bucket: string,
  ) {
    client.middlewareStack.add(
      (next, { commandName }) =>
        (args) => {
          const request = args.request as Request;
          const { Key } = args.input as { Key?: string };
          if (commandName === 'GetObjectCommand' && request.path.endsWith(`/${Key}`)) {
            const { host, 'user-agent': agent } = request.headers;
            const headers = { host, 'user-agent': agent, 'x-amz-checksum-mode': 'ENABLED' };
            this.known = { ...request, headers, path: request.path.slice(0, -Key!.length) };
          }
          return next(args);
        },
      { step: 'finalizeRequest', name: 'quickGetEndpoint', priority: 'high', override: true },
    );
  }

  /**
   * @param range as in HTTP, `bytes=0-99`; all of it without
   * @throws what the SDK does
   */
  public async open(key: string, range?: string): Promise<OpenObject> {
    const quick = this.known && (await this.tryOpen(this.known, key, range).catch(() => undefined));
    return quick ?? this.openSlowly(key, range);
  }

  /** Nothing when S3 does not give it. */
  private async tryOpen(known: Request, key: string, range: string | undefined): Promise<OpenObject | undefined> {
    const { config } = this.client;
    this.signer ??= config.signer();
    const request = { ...known, path: known.path + key, headers: { ...known.headers, ...(range && { range }) } };
    const signingDate = new Date(Date.now() + config.systemClockOffset);
    const signed = await (await this.signer).sign(request, { signingDate });
    const { response } = await config.requestHandler.handle(signed);
    const stream = response.body as IncomingMessage;
    const { statusCode, headers } = response as { statusCode: number; headers: Record<string, string> };
    if (statusCode !== (range ? 206 : 200)) {
      stream.resume();
      return undefined;
    }
    const metadata: Record<string, string> = {};
    for (const name in headers) {
      if (name.startsWith('x-amz-meta-')) metadata[name.slice('x-amz-meta-'.length)] = headers[name];
    }
    return {
      metadata,
      size: headers['content-length'] === undefined ? undefined : Number(headers['content-length']),
      checksum: headers['x-amz-checksum-sha256'],
      // What broke off is read anew.
      body: () => contentOf(stream).catch(async () => (await this.openSlowly(key, range)).body()),
    };
  }

  private async openSlowly(Key: string, Range: string | undefined): Promise<OpenObject> {
    // With a range S3 tells no checksum of the part.
    const ChecksumMode = Range ? undefined : 'ENABLED';
    const object: GetObjectCommandOutput = await this.client.send(
      new GetObjectCommand({ Bucket: this.bucket, Key, Range, ChecksumMode }),
    );
    return {
      metadata: object.Metadata ?? {},
      size: object.ContentLength,
      checksum: object.ChecksumSHA256,
      body: async () => Buffer.from(await object.Body!.transformToByteArray()),
    };
  }
}

function contentOf(stream: IncomingMessage): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.once('end', () => resolve(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks)));
    stream.once('error', reject);
    stream.once('close', () => reject(new Error('it ended before its end')));
  });
}
