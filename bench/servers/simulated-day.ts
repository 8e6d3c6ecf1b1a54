import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import type {
  DeleteObjectsCommandInput,
  GetObjectCommandInput,
  HeadObjectCommandInput,
  ListObjectsV2CommandInput,
  ListObjectVersionsCommandInput,
  PutObjectCommandInput,
} from '@aws-sdk/client-s3';
import { parseIndex } from '../../handlers/packs/pack-index';

const PAGE = 1000;
const DIGITS = 8;

type Middleware = (next: (request: unknown) => Promise<unknown>) => (request: unknown) => Promise<unknown>;

/**
 * S3 with a day of a journal, in place of the SDK's client: it makes up listings and messages as they are asked for, and keeps of
 * what is stored no more than the last digest of each kind. Messages are deleted in the order of their keys, each once, and only
 * after an index has named them; it throws when that is not so.
 */
export class SimulatedDay {
  public readonly name = '2026/01/02';
  /** Told how many messages are in packs, after each pack. */
  public onPacked: (messages: number) => void = () => undefined;
  public readonly middlewareStack = { add: (middleware: Middleware) => void (this.middleware = middleware) };
  private middleware: Middleware = (next) => next;
  private readonly digests = new Map<string, string>();
  private readonly stored = new Date('2026-01-02T23:00:00Z');
  private gone = 0;
  private named = 0;

  constructor(
    private readonly objects: number,
    private readonly bytes: number,
  ) {}

  /** Messages that are not deleted. */
  public get left(): number {
    return this.objects - this.gone;
  }

  public async send(command: { readonly constructor: { readonly name: string }; readonly input: object }) {
    const answer = this.answer(command.constructor.name, command.input);
    const response = { headers: { date: 'Mon, 05 Jan 2026 00:00:00 GMT' } };
    await this.middleware(async () => ({ output: answer, response }))(command);
    return answer;
  }

  private answer(name: string, input: object): object {
    switch (name) {
      case 'ListObjectVersionsCommand':
        return this.versions(input as ListObjectVersionsCommandInput);
      case 'ListObjectsV2Command':
        return this.list(input as ListObjectsV2CommandInput);
      case 'GetObjectCommand':
        return this.message(input as GetObjectCommandInput);
      case 'PutObjectCommand':
        return this.put(input as PutObjectCommandInput);
      case 'HeadObjectCommand':
        return { ChecksumSHA256: this.digests.get(kindOf((input as HeadObjectCommandInput).Key!)) };
      case 'DeleteObjectsCommand':
        return this.delete(input as DeleteObjectsCommandInput);
      default:
        throw new Error(`${name} was not expected`);
    }
  }

  private versions({ Prefix, KeyMarker }: ListObjectVersionsCommandInput) {
    if (!Prefix!.startsWith('journal/')) return { Versions: [] };
    const first = Math.max(this.gone, KeyMarker ? this.after(KeyMarker) : 0);
    const Versions = this.range(first).map((index) => ({
      ...{ Key: this.key(index), VersionId: `v${index}`, Size: this.bytes },
      ...{ LastModified: this.stored, IsLatest: true },
    }));
    const IsTruncated = first + PAGE < this.objects;
    return {
      Versions,
      IsTruncated,
      NextKeyMarker: Versions.at(-1)?.Key,
      NextVersionIdMarker: Versions.at(-1)?.VersionId,
    };
  }

  private list({ Prefix, StartAfter, ContinuationToken }: ListObjectsV2CommandInput) {
    if (!Prefix!.startsWith('journal/')) return { Contents: [] };
    const first = Math.max(this.gone, this.after(ContinuationToken ?? StartAfter!));
    const Contents = this.range(first).map((index) => ({ Key: this.key(index), LastModified: this.stored }));
    return { Contents, NextContinuationToken: first + PAGE < this.objects ? Contents.at(-1)!.Key : undefined };
  }

  private message({ Key }: GetObjectCommandInput) {
    const index = this.indexOf(Key!);
    if (index < this.gone) throw new Error(`${Key} was read after it was deleted`);
    const body = Buffer.alloc(this.bytes, `${index} `);
    const Body = Object.assign(Readable.from([]), { transformToByteArray: async () => body });
    return { Body, ChecksumSHA256: sha256(body), Metadata: { from: 'f'.repeat(16), to: '7'.repeat(16) } };
  }

  private put({ Key, Body }: PutObjectCommandInput) {
    this.digests.set(kindOf(Key!), sha256(Body as Buffer | string));
    if (kindOf(Key!) === 'index') {
      for (const { key } of parseIndex(Key!, Body as string).members) {
        if (this.indexOf(key) !== this.named++) throw new Error(`${key} is in two packs, or one before it in none`);
      }
      this.onPacked(this.named);
    }
    return { VersionId: 'v' };
  }

  private delete({ Delete }: DeleteObjectsCommandInput) {
    for (const { Key } of Delete!.Objects!) {
      if (this.indexOf(Key!) !== this.gone++ || this.gone > this.named)
        throw new Error(`${Key} was deleted out of turn`);
    }
    return {};
  }

  private range(first: number): number[] {
    return Array.from({ length: Math.max(0, Math.min(PAGE, this.objects - first)) }, (_none, index) => first + index);
  }

  private key(index: number): string {
    const hour = Math.floor((24 * index) / this.objects);
    const number = `${index}`.padStart(DIGITS, '0');
    return `journal/${this.name}/${`${hour}`.padStart(2, '0')}/m${number}.eml.zst`;
  }

  private indexOf(key: string): number {
    return Number(/m(\d+)/.exec(key)![1]);
  }

  /** The first message whose key comes after this one, which may lack its last letter. */
  private after(key: string): number {
    return this.indexOf(key) + (key.endsWith('.eml.zst') ? 1 : 0);
  }
}

function kindOf(key: string): 'index' | 'pack' {
  return key.endsWith('.jsonl') ? 'index' : 'pack';
}

function sha256(content: Buffer | string): string {
  return createHash('sha256').update(content).digest('base64');
}
