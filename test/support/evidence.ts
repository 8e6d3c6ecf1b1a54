import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateKeyCommand, GetPublicKeyCommand, KMSClient } from '@aws-sdk/client-kms';
import {
  CreateBucketCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutBucketVersioningCommand,
  PutObjectCommand,
  PutObjectCommandInput,
  S3Client,
} from '@aws-sdk/client-s3';
import { handler } from '../../handlers/evidence';
import { Entry } from '../../handlers/evidence/chain/entry';
import { newestBatch } from '../../handlers/evidence/chain/head';
import { manifestKey, parseManifest, publicKeyFrom } from '../../handlers/evidence/chain/manifest';
import { JournalBucket } from '../../handlers/evidence/journal-bucket';
import { locate, ObjectCheck } from '../../bin/evidence/source';
import { ChainReport, entriesOf, KnownBatch, verifyChain } from '../../bin/evidence/verify-chain';
import { FaultyProxy, startFaultyProxy } from './faulty-proxy';
import { MotoServer, startMotoServer } from './moto-server';

/** S3 and KMS of moto behind a proxy that can fail; the handler and the verifier find it by the environment. */
export class EvidenceBench {
  public proxy!: FaultyProxy;
  public s3!: S3Client;
  public bucket!: string;
  public folder!: string;
  private moto!: MotoServer;
  private kms!: KMSClient;
  private buckets = 0;
  private readonly saved = { ...process.env };

  public async start(): Promise<void> {
    this.folder = mkdtempSync(join(tmpdir(), 'evidence-'));
    this.moto = await startMotoServer();
    this.proxy = await startFaultyProxy(this.moto.url);
    Object.assign(process.env, {
      AWS_REGION: 'eu-central-1',
      AWS_ACCESS_KEY_ID: 'test',
      AWS_SECRET_ACCESS_KEY: 'test',
      AWS_ENDPOINT_URL: this.proxy.url,
      AWS_MAX_ATTEMPTS: '6', // as the construct sets it
      AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
    });
    this.s3 = new S3Client({ endpoint: this.moto.url, forcePathStyle: true });
    this.kms = new KMSClient({ endpoint: this.moto.url });
  }

  /** S3 and KMS past the proxy. */
  public get motoUrl(): string {
    return this.moto.url;
  }

  public async stop(): Promise<void> {
    this.s3?.destroy();
    this.kms?.destroy();
    await this.proxy?.stop();
    await this.moto?.stop();
    process.env = this.saved;
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** A journal of its own, with a key of its own whose public half is in `publicKeyFile`. */
  public async newJournal(limits: { recentHours?: number; sweep?: number; entries?: number } = {}): Promise<void> {
    this.proxy.behave();
    this.bucket = `journal-${++this.buckets}`;
    await this.s3.send(
      new CreateBucketCommand({
        Bucket: this.bucket,
        ObjectLockEnabledForBucket: true,
        CreateBucketConfiguration: { LocationConstraint: 'eu-central-1' },
      }),
    );
    await this.s3.send(
      new PutBucketVersioningCommand({ Bucket: this.bucket, VersioningConfiguration: { Status: 'Enabled' } }),
    );
    const { KeyMetadata } = await this.kms.send(
      new CreateKeyCommand({ KeySpec: 'ECC_NIST_P256', KeyUsage: 'SIGN_VERIFY' }),
    );
    const { PublicKey } = await this.kms.send(new GetPublicKeyCommand({ KeyId: KeyMetadata!.KeyId }));
    const base64 = Buffer.from(PublicKey!).toString('base64');
    writeFileSync(this.publicKeyFile, `-----BEGIN PUBLIC KEY-----\n${base64}\n-----END PUBLIC KEY-----\n`);
    Object.assign(process.env, {
      JOURNAL_BUCKET: this.bucket,
      SIGNING_KEY: KeyMetadata!.KeyId,
      CHAIN: 'Test',
      RECENT_HOURS: `${limits.recentHours ?? 3}`,
      SWEEP_VERSIONS: `${limits.sweep ?? 1000}`,
      BATCH_ENTRIES: `${limits.entries ?? 1000}`,
    });
  }

  public get publicKeyFile(): string {
    return join(this.folder, `${this.bucket}.pem`);
  }

  /** Puts a message as a writer of the journal does. @returns its key */
  public async message(
    id: string,
    hour = hourNow(),
    content: string | Buffer = `message ${id}`,
    more: Partial<PutObjectCommandInput> = {},
  ): Promise<string> {
    const key = `journal/${hour}/${id}.eml.zst`;
    const checksum = createHash('sha256').update(content).digest('base64');
    await this.s3.send(
      new PutObjectCommand({
        Bucket: this.bucket,
        Key: key,
        Body: content,
        ChecksumAlgorithm: 'SHA256',
        ChecksumSHA256: checksum,
        IfNoneMatch: '*',
        ...more,
      }),
    );
    return key;
  }

  /** Runs the function as the schedule does. */
  public run(remaining: () => number = () => 600_000): ReturnType<typeof handler> {
    return handler({}, { getRemainingTimeInMillis: remaining });
  }

  /** The same, past the proxy: for a run while the proxy holds a request of another one. */
  public async runDirectly(): ReturnType<typeof handler> {
    process.env.AWS_ENDPOINT_URL = this.moto.url;
    try {
      return await this.run();
    } finally {
      process.env.AWS_ENDPOINT_URL = this.proxy.url;
    }
  }

  /** Entries of all batches, oldest batch first, read past the proxy. */
  public async entries(): Promise<Entry[]> {
    const reader = new JournalBucket(this.s3, this.bucket);
    const entries: Entry[] = [];
    for (let sequence = 1, newest = await newestBatch(reader); sequence <= newest; sequence++) {
      const { manifest } = parseManifest((await reader.read(manifestKey(sequence)))!.toString(), sequence);
      for await (const { entry } of entriesOf(reader, manifest.parts)) {
        entries.push(entry);
      }
    }
    return entries;
  }

  /** Checks the chain in the bucket, or in a folder. */
  public async verify(
    options: { at?: string; objects?: ObjectCheck; known?: KnownBatch; newest?: number } = {},
  ): Promise<ChainReport & { faults: string[] }> {
    const { source } = locate(options.at ?? `s3://${this.bucket}`);
    const faults: string[] = [];
    const report = await verifyChain(
      {
        source,
        keys: [publicKeyFrom(readFileSync(this.publicKeyFile, 'utf8'))],
        newest: options.newest ?? (await newestBatch(source)),
        objects: options.objects ?? 'read',
        known: options.known,
      },
      (fault) => faults.push(fault),
    );
    return { ...report, faults };
  }

  public async keys(prefix: string): Promise<string[]> {
    const { Contents } = await this.s3.send(new ListObjectsV2Command({ Bucket: this.bucket, Prefix: prefix }));
    return (Contents ?? []).map(({ Key }) => Key!);
  }

  public async content(key: string): Promise<string> {
    const { Body } = await this.s3.send(new GetObjectCommand({ Bucket: this.bucket, Key: key }));
    return Body!.transformToString();
  }

  public async overwrite(key: string, content: string): Promise<void> {
    await this.s3.send(new PutObjectCommand({ Bucket: this.bucket, Key: key, Body: content }));
  }
}

/** The present hour, as it is in keys. */
export function hourNow(hoursAgo = 0): string {
  return new Date(Date.now() - hoursAgo * 3_600_000).toISOString().slice(0, 13).replace(/[-T]/g, '/');
}
