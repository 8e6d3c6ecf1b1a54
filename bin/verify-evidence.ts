#!/usr/bin/env node
import { KeyObject } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { sha256 } from '../handlers/evidence/chain/merkle';
import { newestBatch } from '../handlers/evidence/chain/head';
import { publicKeyFrom } from '../handlers/evidence/chain/manifest';
import { Proof, prove, verifyProof } from './evidence/proof';
import { locate, Location, ObjectCheck } from './evidence/source';
import { checkObject, KnownBatch, verifyChain } from './evidence/verify-chain';

const USAGE = `usage: verify-evidence --public-key key.pem [--head 12:hash] [--objects read|checksum|none] manifest
       verify-evidence --public-key key.pem --message journal/2026/11/22/05/id.eml.zst [--write-proof file] manifest
       verify-evidence --public-key key.pem --proof file [--object id.eml.zst]

The manifest is the newest batch to check, such as s3://bucket/evidence/batches/000/000/012.jsonl or the same in a folder
with a copy of the bucket; s3://bucket or the folder alone stand for the newest that is there. The stack's output
PublicKeyCommand gets the public key. --head is what an earlier check printed as head. docs/evidence.md says more.`;

/** The last line of output, JSON. */
interface Summary {
  readonly checked: number;
  readonly broken: number;
  readonly [more: string]: unknown;
}

async function main(): Promise<Summary> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      'public-key': { type: 'string', multiple: true },
      head: { type: 'string' },
      objects: { type: 'string', default: 'read' },
      message: { type: 'string' },
      'write-proof': { type: 'string' },
      proof: { type: 'string' },
      object: { type: 'string' },
    },
  });
  const keys = (values['public-key'] ?? []).map((file) => publicKeyFrom(readFileSync(file, 'utf8')));
  if (keys.length === 0 || positionals.length !== (values.proof === undefined ? 1 : 0)) {
    throw new Error(
      `${keys.length === 0 ? '--public-key is missing' : 'one manifest, or --proof, is expected'}\n${USAGE}`,
    );
  }
  if (values.proof !== undefined) {
    return checkProof(values.proof, keys, values.object);
  }
  const objects = values.objects as ObjectCheck;
  if (!['read', 'checksum', 'none'].includes(objects)) {
    throw new Error(`--objects must be read, checksum or none, got ${objects}`);
  }
  const location = locate(positionals[0]);
  if (values.message !== undefined) {
    return checkMessage(location, keys, values.message, objects, values['write-proof']);
  }
  const newest = location.sequence ?? (await newestBatch(location.source));
  const known = values.head === undefined ? undefined : knownBatch(values.head);
  return { ...(await verifyChain({ source: location.source, keys, newest, objects, known }, tell)) };
}

/** Whether one message is there, intact, and since when. */
async function checkMessage(
  { source }: Location,
  keys: KeyObject[],
  key: string,
  objects: ObjectCheck,
  writeTo?: string,
): Promise<Summary> {
  const proofs = await prove(source, keys, key);
  let broken = 0;
  for (const proof of proofs) {
    const { entry, batch, time } = verifyProof(JSON.stringify(proof), keys);
    const fault = objects === 'none' ? undefined : await checkObject(source, entry, objects);
    const state = objects === 'none' ? 'not looked at' : (fault ?? 'present and intact');
    console.log(`${key}: ${state}; stored ${entry.lastModified}, attested ${time} by batch ${batch}`);
    broken += fault === undefined ? 0 : 1;
  }
  if (proofs.length === 0) {
    tell(`no batch attests ${key}`);
    broken++;
  } else if (writeTo !== undefined) {
    writeProof(writeTo, proofs);
  }
  return { checked: proofs.length, broken };
}

function writeProof(file: string, proofs: Proof[]): void {
  if (proofs.length > 1) {
    console.log(`the object has ${proofs.length} versions; the proof is of the first that was attested`);
  }
  writeFileSync(file, `${JSON.stringify(proofs[0], undefined, 2)}\n`);
}

/** Needs no bucket: the proof, the public key, and for the content a file. */
function checkProof(file: string, keys: KeyObject[], object?: string): Summary {
  try {
    const { entry, batch, time } = verifyProof(readFileSync(file, 'utf8'), keys);
    const digest = object === undefined ? undefined : sha256(readFileSync(object)).toString('hex');
    if (digest !== undefined && digest !== entry.sha256) {
      throw new Error(`${object} is not what batch ${batch} attests: its SHA-256 is ${digest}, not ${entry.sha256}`);
    }
    const content = object === undefined ? `SHA-256 ${entry.sha256}` : `${object} is intact`;
    console.log(`${entry.key}: ${content}; stored ${entry.lastModified}, attested ${time} by batch ${batch}`);
    return { checked: 1, broken: 0 };
  } catch (error) {
    tell((error as Error).message);
    return { checked: 1, broken: 1 };
  }
}

function knownBatch(text: string): KnownBatch {
  const [, sequence, hash] = /^([1-9][0-9]{0,8}):([0-9a-f]{64})$/.exec(text) ?? [];
  if (hash === undefined) {
    throw new Error(`--head must be a number and a hash such as 12:5dc9…, got ${text}`);
  }
  return { sequence: Number(sequence), hash };
}

function tell(what: string): void {
  console.log(`broken: ${what}`);
}

main().then(
  (summary) => {
    console.log(JSON.stringify(summary));
    process.exitCode = summary.broken === 0 ? 0 : 1;
  },
  (error: unknown) => {
    console.error(`verify-evidence: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 2;
  },
);
