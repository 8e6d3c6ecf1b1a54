import { randomBytes } from 'node:crypto';
import { sha256 } from '../../handlers/evidence/chain/merkle';
import { Pack, PackBuilder } from '../../handlers/packs/pack-builder';
import { ABANDONED_MILLISECONDS } from '../../handlers/packs/pack-day';
import { Member, parseIndex, PackIndex } from '../../handlers/packs/pack-index';
import { currentIndexes, PackName, parsePackName } from '../../handlers/packs/pack-names';
import { unnamed } from '../../handlers/packs/unnamed';
import type { EraseOptions, JournalErasure } from './erase-journal';
import type { JournalVersions, PackVersion } from './journal-versions';
import type { WorkLog } from './work-log';

/**
 * Takes a person's messages out of packs: a pack with some of them is written anew without, and all versions of the old one and
 * its index go. The new index has the next generation, so a run that is killed before has changed nothing, and what one that was
 * killed later left is deleted by the next one.
 */
export async function eraseFromPacks(
  journal: JournalVersions,
  whose: (metadata: Readonly<Record<string, string>>) => 'person' | 'both' | 'others',
  log: WorkLog,
  options: EraseOptions,
  result: JournalErasure,
): Promise<void> {
  const tell = options.onProblem ?? (() => undefined);

  /** @returns whether they are gone */
  const remove = async (versions: PackVersion[], digests: ReadonlyMap<string, string> = new Map()): Promise<void> => {
    for (const { key, versionId } of versions) {
      const entry = { key, versionId, sha256: digests.get(key) };
      log.intend(journal.bucket, { ...entry, rewritten: true });
      if (await journal.delete(entry, options.liftGovernance)) {
        result.rewritten.push(entry);
      } else {
        result.refused.push({ key, versionId });
        tell('refused', key, 'S3 does not delete it: a right is missing, or a lock or a policy forbids it');
      }
    }
  };

  for await (const { versions } of journal.packDays()) {
    const current = currentIndexes(versions.filter(({ isMarker }) => !isMarker).map(({ key }) => key));
    if (!options.dryRun) await remove(await leftovers(journal, versions, current, log, result, tell));
    for (const name of current) {
      const text = await journal.packs.journal.read(name.key);
      const index = parseIndex(name.key, text?.toString() ?? '');
      result.looked += index.members.length;
      const mine = index.members.filter(({ metadata }) => {
        const owner = whose(metadata);
        if (owner === 'both' && !options.shared) result.shared++;
        return owner === 'person' || (owner === 'both' && options.shared);
      });
      if (mine.length === 0) continue;
      const old = versions.filter(({ key }) => key === index.pack || key === name.key);
      const packed = old.find(({ key }) => key === index.pack);
      if (!packed) throw new Error(`s3://${journal.bucket}: ${index.pack} is missing, which ${name.key} names`);
      const body = await readable(journal, packed, index, mine, options, result, tell);
      if (!body) continue;
      if (!options.dryRun) {
        for (const { key, versionId, sha256: digest } of mine) {
          log.intend(journal.bucket, { key, versionId, sha256: base64(digest), pack: packed });
        }
        await storeWithout(journal, name, index, body, new Set(mine), log);
        await remove(
          old,
          new Map([
            [index.pack!, base64(index.sha256)],
            [name.key, sha256(text!).toString('base64')],
          ]),
        );
      }
      result.deleted.push(
        ...mine.map(({ key, versionId, sha256: digest }) => ({ key, versionId, sha256: base64(digest) })),
      );
    }
  }
}

/** What does not count: lower generations, and packs without an index, but those that are being made now. */
async function leftovers(
  journal: JournalVersions,
  versions: PackVersion[],
  current: PackName[],
  log: WorkLog,
  result: JournalErasure,
  tell: (what: string, key: string, why: string) => void,
): Promise<PackVersion[]> {
  const generations = new Map(current.map(({ number, generation }) => [number, generation]));
  const old = versions.filter(({ key }) => {
    const name = parsePackName(key);
    return name && name.generation < (generations.get(name.number) ?? 0);
  });
  const ours = log.made(journal.bucket);
  const without = await unnamed(journal.packs.journal, versions);
  const before = journal.packs.journal.now.getTime() - ABANDONED_MILLISECONDS;
  for (const version of without) {
    if (old.includes(version)) continue;
    if (ours.has(version.key) || version.lastModified.getTime() < before) {
      old.push(version);
    } else {
      result.refused.push({ key: version.key, versionId: version.versionId });
      tell('refused', version.key, 'a pack that is being made, or was; run this again in an hour');
    }
  }
  return old;
}

/** The pack; nothing when it can't be written anew now, which is told. In a dry run it is not read. */
async function readable(
  journal: JournalVersions,
  packed: PackVersion,
  { sha256: digest }: PackIndex,
  mine: Member[],
  options: EraseOptions,
  result: JournalErasure,
  tell: (what: string, key: string, why: string) => void,
): Promise<Buffer | undefined> {
  const facts = await journal.facts(packed);
  const names = mine.map(({ key, versionId }) => ({ key, versionId }));
  if (facts?.legalHold) {
    result.held.push(...names);
    tell('held', packed.key, `a legal hold keeps the pack, with ${mine.length} messages`);
    return undefined;
  }
  if (facts?.lockedUntil && !(facts.isGovernance && options.liftGovernance)) {
    const until = facts.lockedUntil.toISOString();
    result.locked.push(...names.map((name) => ({ ...name, until })));
    tell('locked', packed.key, `Object Lock keeps the pack until ${until}, with ${mine.length} messages`);
    return undefined;
  }
  if (options.dryRun) return Buffer.alloc(0);
  const body = await journal.readPack(packed);
  if (body === 'archived') {
    result.refused.push(...names);
    tell('refused', packed.key, 'the pack is in Deep Archive and was asked for; run this again in 12 hours');
    return undefined;
  }
  if (!body || sha256(body).toString('hex') !== digest) {
    result.refused.push(...names);
    tell('refused', packed.key, 'the pack is missing or is not what its index says; see verify-evidence');
    return undefined;
  }
  return body;
}

async function storeWithout(
  journal: JournalVersions,
  { day, number, generation }: PackName,
  { members }: PackIndex,
  body: Buffer,
  without: ReadonlySet<Member>,
  log: WorkLog,
): Promise<void> {
  const builder = new PackBuilder();
  for (const member of members) {
    if (without.has(member)) continue;
    const { offset, metadata, ...entry } = member;
    builder.add({ entry, metadata, body: body.subarray(offset, offset + entry.size) });
  }
  const pack: Pack = builder.build(day, number, generation + 1, randomBytes(8).toString('hex'));
  const { packs } = journal;
  log.make(journal.bucket, pack.key);
  if (pack.members.length > 0) {
    await packs.putPack(pack);
    await packs.confirm(pack.key, sha256(pack.body));
  }
  if (!(await packs.putIndex(pack.index)))
    throw new Error('another erasure is at work there; run this again when it has ended');
  await packs.confirm(pack.index.key, sha256(pack.index.text));
}

function base64(hexadecimal: string): string {
  return Buffer.from(hexadecimal, 'hex').toString('base64');
}
