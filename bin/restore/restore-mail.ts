import { setTimeout as sleep } from 'node:timers/promises';
import { subjectOf } from '../users/user-file';
import { Budget } from './budget';
import { ImapServer, RefusedError } from './imap-server';
import { JournalKey, parseKey, tagOf } from './journal-key';
import { JournalKeys } from './journal-keys';
import { BrokenError, ErasedError, JournalMessage, messageIdOf, readMessage } from './journal-message';
import { JournalReader, Tier } from './journal-reader';
import { Mailbox } from './mailbox';

/** Mailboxes that are open at once; beyond it the one that was used least recently is closed. */
const OPEN_MAX = 100;
/** Bytes of messages in memory at once. */
const MEMORY = 128 << 20;
/** Objects up to this size are read in place of their metadata, which come with them: one request where it were two. */
const SMALL = 16 << 10;
/** Times that a message is tried when connections break. */
const ATTEMPTS = 5;

/** Which mail is to be restored, and into which mailboxes. */
export interface Selection {
  /** Into the mailbox of this address, what was sent to it; or into those of a domain, to each what was sent to it. */
  readonly user?: string;
  readonly domain?: string;
  /**
   * Further addresses whose mail is the user's: aliases, names with a detail.
   * @default []
   */
  readonly also?: readonly string[];
  /**
   * Instead of what was sent to the user, what the user sent.
   * @default false
   */
  readonly sent?: boolean;
  /**
   * Only this message: its key in the journal, or its Message-ID with brackets.
   * @default - all
   */
  readonly message?: string;
  /**
   * People whose mail was erased and stays so: SHA-256 of their addresses (`Erasure.subject`).
   * @default - nobody
   */
  readonly erased?: ReadonlySet<string>;
  /** Only what was accepted at this time or later. */
  readonly from: Date;
  /** Only what was accepted before. */
  readonly to: Date;
}

/** How `restoreMail` goes about it. */
export interface RestoreOptions {
  readonly journal: JournalReader;
  readonly imap: ImapServer;
  readonly selection: Selection;
  /** Folder with `/` between levels; made when it is missing. */
  readonly folder: string;
  /**
   * Whether each message is read to see whom it is to, which finds names with a detail (`bob+lists@…`). Without, metadata
   * tell, exactly for the addresses given. Of a domain each is read.
   * @default false
   */
  readonly envelopes?: boolean;
  /** Messages at once. */
  readonly concurrency: number;
  /** Connections to a mailbox. */
  readonly connections: number;
  /** @default [] */
  readonly flags?: readonly string[];
  /** Whether everything is read and checked, and nothing is changed. @default false */
  readonly dryRun?: boolean;
  /** How objects in Glacier are asked for, and for how many days they then can be read. */
  readonly tier: Tier;
  readonly days: number;
  /**
   * Seconds between looks at objects that were asked for, until all were read.
   * @default - not waited for
   */
  readonly wait?: number;
  /** Told of each message that is not restored, and why; of what is in a mailbox and can't be read, by folder and UID. */
  readonly onProblem?: (
    what: 'broken' | 'failed' | 'waiting' | 'missing' | 'unreadable' | 'erased',
    key: string,
    why: string,
  ) => void;
}

/** Counts of messages; one that goes into two mailboxes counts twice. `found` is the sum of the others but `looked` and `erased`. */
export interface Counts {
  /** Objects of the journal that were looked at. */
  looked: number;
  found: number;
  /** Put in now; in a dry run, what would be. */
  restored: number;
  /** There already. */
  duplicates: number;
  /** Not what was stored, so not put in. */
  broken: number;
  /** In Glacier and asked for, not to be read yet. */
  waiting: number;
  /** Whole, and the mailbox can't be opened or does not take it. */
  failed: number;
  /** Sealed, and the keys that opened it were destroyed: not there any more. */
  erased: number;
}

/** What came of it. */
export interface RestoreReport extends Readonly<Counts> {
  /** What should be in the mailboxes and is not: broken, waiting, failed, or one message that was named and not found. */
  readonly missing: number;
  readonly bytes: number;
  readonly seconds: number;
  /** Messages restored, each second. */
  readonly perSecond: number;
  readonly dryRun: boolean;
}

/** Two reports of one restore, from one source and then from another. */
export function sumOf(first: RestoreReport, second: RestoreReport): RestoreReport {
  const sum: { -readonly [Name in keyof RestoreReport]: RestoreReport[Name] } = { ...second };
  for (const name of [
    'looked',
    'found',
    'restored',
    'duplicates',
    'broken',
    'waiting',
    'failed',
    'erased',
    'missing',
    'bytes',
  ] as const) {
    sum[name] += first[name];
  }
  // Both count from the beginning.
  sum.seconds = Math.max(first.seconds, second.seconds);
  return { ...sum, perSecond: Math.round(sum.restored / Math.max(sum.seconds, 0.001)) };
}

/** Gets mail back from the journal into mailboxes. Begun again after whatever end, it goes on where it was. */
export class Restore {
  public readonly counts: Counts = {
    looked: 0,
    found: 0,
    restored: 0,
    duplicates: 0,
    broken: 0,
    waiting: 0,
    failed: 0,
    erased: 0,
  };
  /** When what was looked at last was accepted, milliseconds since 1970. */
  public position = 0;
  private bytes = 0;
  private readonly begin = Date.now();
  private readonly archived: JournalKey[] = [];
  private readonly mailboxes: Mailboxes;
  private readonly addresses: Set<string>;
  private readonly tags: Set<string>;
  private readonly key?: JournalKey;
  private readonly memory = new Budget(MEMORY);
  private readonly keys = new JournalKeys();

  /** @throws when neither user nor domain is given, or both, or when the user's mail was erased */
  constructor(private readonly options: RestoreOptions) {
    const { user, domain, also = [], message, from, to, sent = false } = options.selection;
    if ((user === undefined) === (domain === undefined)) {
      throw new Error('a user or a domain is expected, and not both');
    }
    if (user !== undefined && options.selection.erased?.has(subjectOf(user))) {
      throw new Error(`mail of ${user} was erased, or is about to be; "mail-erase undo" ends that`);
    }
    this.addresses = new Set([...(user === undefined ? [] : [user]), ...also].map((address) => address.toLowerCase()));
    this.tags = new Set([...this.addresses].map(tagOf));
    this.key = message === undefined ? undefined : parseKey(message);
    this.mailboxes = new Mailboxes(options.imap, {
      folder: options.folder,
      from: this.key ? new Date(this.key.arrival) : from,
      to: this.key ? new Date(this.key.arrival + 1000) : to,
      byMessageId: sent,
      connections: options.connections,
      flags: options.flags ?? [],
      dryRun: options.dryRun ?? false,
      onUnreadable: (which, why) => options.onProblem?.('unreadable', which, why),
    });
  }

  /** @throws when the journal can't be read; what was restored until then stays */
  public async run(): Promise<RestoreReport> {
    const { journal, selection, wait } = this.options;
    try {
      await this.each(this.key ? [this.key] : journal.keys(selection.from, selection.to));
      while (wait !== undefined && this.archived.length > 0 && !this.options.dryRun) {
        await sleep(wait * 1000);
        this.counts.looked -= this.archived.length;
        await this.each(this.archived.splice(0));
      }
      this.counts.waiting = this.archived.length;
      this.counts.found += this.counts.waiting;
      for (const { key } of this.archived) {
        this.options.onProblem?.('waiting', key, 'it is in Glacier; run this again when S3 has brought it back');
      }
      const named = selection.message;
      if (named !== undefined && this.counts.found === 0) {
        this.options.onProblem?.('missing', named, 'not in the journal of that time, or not of that user or domain');
      }
      return this.report();
    } finally {
      this.mailboxes.close();
    }
  }

  /** As things stand. */
  public report(): RestoreReport {
    const { restored, broken, waiting, failed, found } = this.counts;
    const seconds = (Date.now() - this.begin) / 1000;
    const notFound = this.options.selection.message !== undefined && found === 0 ? 1 : 0;
    return {
      ...this.counts,
      missing: broken + waiting + failed + notFound,
      bytes: this.bytes,
      seconds: Math.round(seconds * 10) / 10,
      perSecond: Math.round(restored / Math.max(seconds, 0.001)),
      dryRun: this.options.dryRun ?? false,
    };
  }

  /** Handles the objects, some at once. */
  private async each(keys: Iterable<JournalKey> | AsyncIterable<JournalKey>): Promise<void> {
    const iterator = Symbol.asyncIterator in keys ? keys[Symbol.asyncIterator]() : keys[Symbol.iterator]();
    let ended = false;
    const worker = async () => {
      while (!ended) {
        const { value, done } = await iterator.next();
        if (done) return;
        try {
          await this.handle(value);
        } catch (error) {
          ended = true;
          throw error;
        }
        this.counts.looked++;
        this.position = Math.max(this.position, value.arrival);
      }
    };
    const ends = await Promise.allSettled(Array.from({ length: this.options.concurrency }, worker));
    const failure = ends.find((end) => end.status === 'rejected');
    if (failure) throw failure.reason;
  }

  private async handle(key: JournalKey): Promise<void> {
    const { journal, selection, tier, days, dryRun } = this.options;
    const byMetadata = selection.user !== undefined && !this.options.envelopes;
    const isSmall = (key.size ?? Infinity) <= SMALL;
    if (byMetadata && !isSmall) {
      const metadata = await journal.metadata(key);
      // All that was there need not be read, or brought back from Glacier.
      if (metadata === undefined || !(await this.isWanted(key, metadata))) return;
    }
    let release = () => {};
    try {
      const stored = await journal.read(key, async (metadata, bytes) => {
        if (byMetadata && isSmall && !(await this.isWanted(key, metadata))) return false;
        release = await this.memory.take(bytes);
        return true;
      });
      if (stored === undefined) return;
      if (stored === 'archived') {
        if (!dryRun) await journal.ask(key, tier, days);
        this.archived.push(key);
        return;
      }
      const message = await readMessage(key, stored, this.keys);
      const only = this.key ? undefined : selection.message;
      if (only !== undefined && messageIdOf(message.header) !== only) return;
      for (const name of this.usersOf(message)) await this.restore(name, key, message);
    } catch (error) {
      if (error instanceof ErasedError) {
        this.counts.erased++;
        this.options.onProblem?.('erased', key.key, error.message);
        return;
      }
      if (!(error instanceof BrokenError)) throw error;
      this.fail('broken', key, error.message);
    } finally {
      release();
    }
  }

  /** Whether the message may be the user's and is not there, by what S3 tells of it. */
  private async isWanted(key: JournalKey, metadata: Readonly<Record<string, string>>): Promise<boolean> {
    const { user, message } = this.options.selection;
    if (!this.mayConcern(metadata)) return false;
    const size = Number(metadata['message-size'] ?? NaN);
    if (message !== undefined || !(await this.isThere(user!, key, size))) return true;
    this.counts.found++;
    this.counts.duplicates++;
    return false;
  }

  /** Whether the message may be of the user, by what S3 tells of it. */
  private mayConcern({ from, to = '', recipients }: Readonly<Record<string, string>>): boolean {
    if (this.options.selection.sent) return this.tags.has(from);
    const tags = to.split(',');
    // Metadata has room for a hundred.
    return tags.some((tag) => this.tags.has(tag)) || Number(recipients) > tags.length;
  }

  /** Mailboxes that the message belongs into. */
  private usersOf({ from, to }: JournalMessage): string[] {
    const { user, domain, sent } = this.options.selection;
    const addresses = (sent ? [from] : to).map((address) => address.toLowerCase());
    if (user !== undefined) {
      const isUsers = addresses.some((name) => this.addresses.has(name) || this.addresses.has(withoutDetail(name)));
      return isUsers ? [user.toLowerCase()] : [];
    }
    return [...new Set(addresses.map(withoutDetail))]
      .filter((name) => name.endsWith(`@${domain!.toLowerCase()}`))
      .filter((name) => !this.options.selection.erased?.has(subjectOf(name)));
  }

  private async isThere(user: string, { queueId }: JournalKey, size: number): Promise<boolean> {
    try {
      return (await this.mailboxes.get(user.toLowerCase())).has(queueId, size);
    } catch (error) {
      if (error instanceof RefusedError) return false; // to be told when the message is known to be the user's
      throw error;
    }
  }

  private async restore(user: string, key: JournalKey, { message, arrival, header }: JournalMessage): Promise<void> {
    const { sent } = this.options.selection;
    for (let attempt = 1; ; attempt++) {
      let mailbox: Mailbox | undefined;
      try {
        mailbox = await this.mailboxes.get(user);
        const known = sent && mailbox.hasMessageId(messageIdOf(header));
        if (!known && (await mailbox.put(key.queueId, message, arrival))) {
          this.counts.restored++;
          this.bytes += message.length;
        } else {
          this.counts.duplicates++;
        }
        this.counts.found++;
        return;
      } catch (error) {
        if (error instanceof RefusedError || attempt === ATTEMPTS) {
          this.fail('failed', key, (error as Error).message);
          return;
        }
        // Perhaps the server has it, and only its answer was lost: look again.
        if (mailbox) this.mailboxes.drop(user, mailbox);
        await sleep(1000 * attempt);
      }
    }
  }

  private fail(what: 'broken' | 'failed', { key }: JournalKey, why: string): void {
    this.counts.found++;
    this.counts[what]++;
    this.options.onProblem?.(what, key, why);
  }
}

/** Mailboxes that are open. */
class Mailboxes {
  /** In the order of their last use. */
  private readonly open = new Map<string, Promise<Mailbox>>();

  constructor(
    private readonly server: ImapServer,
    private readonly options: Parameters<typeof Mailbox.open>[2],
  ) {}

  public get(user: string): Promise<Mailbox> {
    const known = this.open.get(user);
    this.open.delete(user);
    const mailbox = known ?? Mailbox.open(this.server, user, this.options);
    this.open.set(user, mailbox);
    if (!known) {
      mailbox.catch((error) => {
        // That there is no such login is worth to be known; what else it was may pass.
        if (!(error instanceof RefusedError)) this.open.delete(user);
      });
      this.makeRoom();
    }
    return mailbox;
  }

  /** So that it is opened anew. */
  public drop(user: string, mailbox: Mailbox): void {
    const known = this.open.get(user);
    void known?.then((current) => {
      if (current === mailbox && this.open.get(user) === known) this.open.delete(user);
    });
    mailbox.close();
  }

  public close(): void {
    for (const mailbox of this.open.values()) mailbox.then((one) => one.close()).catch(() => undefined);
    this.open.clear();
  }

  private makeRoom(): void {
    for (const [user, mailbox] of this.open) {
      if (this.open.size <= OPEN_MAX) return;
      this.open.delete(user);
      // Whoever uses it now loses the connection, and tries again.
      mailbox.then((one) => one.close()).catch(() => undefined);
    }
  }
}

function withoutDetail(address: string): string {
  return address.replace(/\+[^@]*(?=@)/, '');
}
