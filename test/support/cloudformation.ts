import { createServer } from 'node:http';
import { AddressInfo } from 'node:net';

/** What a custom resource has told CloudFormation. */
export interface CustomResourceAnswer {
  readonly Status: string;
  readonly PhysicalResourceId: string;
  readonly Reason?: string;
  readonly [field: string]: unknown;
}

/** CloudFormation's end of a custom resource: an address that takes answers. */
export interface CloudFormationEnd {
  /** For `ResponseURL`. */
  readonly url: string;
  /** All that came since `reset`, with the header `content-type` as `contentType`. */
  answers: CustomResourceAnswer[];
  /** What it answers to the next. */
  status: number;
  /** Forgets the answers, and answers 200 again. */
  reset(): void;
  stop(): void;
}

export async function startCloudFormationEnd(): Promise<CloudFormationEnd> {
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    end.answers.push({
      ...JSON.parse(Buffer.concat(chunks).toString()),
      contentType: request.headers['content-type'],
    });
    response.writeHead(end.status).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const end: CloudFormationEnd = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/answer?signature=secret`,
    answers: [],
    status: 200,
    reset: () => {
      end.answers = [];
      end.status = 200;
    },
    stop: () => void server.close(),
  };
  return end;
}
