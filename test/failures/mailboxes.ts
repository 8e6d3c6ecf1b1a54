import { imapClient, type ClientView, type LocalUser } from '../../local/mail-clients';
import { waitFor } from '../../local/run';
import { readLoadMessage, type Ledger } from './ledger';
import { PATIENCE } from './load';

/** What was found wrong. */
export interface Findings {
  /** Ids of acknowledged messages that are in no mailbox. */
  readonly lost: string[];
  /** Ids of messages whose flag was acknowledged, seen, and is gone. */
  readonly flagsLost: string[];
  /** Copies beyond the first. */
  readonly duplicates: number;
  /** Mailboxes that could not be opened or read, messages that are not what was sent, mailboxes that began anew. */
  readonly unreadable: string[];
}

interface Known {
  uidValidity?: bigint;
  nextUid: number;
  /** UIDs by the message's id. */
  readonly uids: Map<string, number[]>;
}

/** Reads mailboxes over IMAP and compares them with what servers promised. Reads each message once. */
export class Mailboxes {
  private readonly known = new Map<string, Known>();

  constructor(
    private readonly view: ClientView,
    private readonly users: readonly LocalUser[],
    private readonly ledger: Ledger,
  ) {}

  /** Compares with what was promised before a moment. */
  public async check(before: number): Promise<Findings> {
    const findings = await Promise.all(this.users.map((user) => this.checkOne(user, before)));
    return {
      lost: findings.flatMap(({ lost }) => lost),
      flagsLost: findings.flatMap(({ flagsLost }) => flagsLost),
      duplicates: findings.reduce((sum, { duplicates }) => sum + duplicates, 0),
      unreadable: findings.flatMap(({ unreadable }) => unreadable),
    };
  }

  private async checkOne(user: LocalUser, before: number): Promise<Findings> {
    const unreadable: string[] = [];
    const known = this.known.get(user.address) ?? { nextUid: 1, uids: new Map<string, number[]>() };
    this.known.set(user.address, known);
    let flagged = new Set<number>();
    try {
      flagged = await waitFor(`the mailbox of ${user.address}`, 20_000, () => this.read(user, known, unreadable));
    } catch (error) {
      unreadable.push((error as Error).message);
      return { lost: [], flagsLost: [], duplicates: 0, unreadable };
    }
    const isThere = ({ id }: { id: string }) => known.uids.has(id);
    const isFlagged = (id: string) => known.uids.get(id)?.some((uid) => flagged.has(uid)) ?? false;
    return {
      lost: this.ledger
        .of(user.address, before)
        .filter((message) => !isThere(message))
        .map(({ id, via, at }) => `${id} (${via}, ${user.address}, acknowledged ${new Date(at).toISOString()})`),
      flagsLost: [...this.ledger.flagged]
        .filter(([id, flag]) => flag.user === user.address && flag.at < before && isThere({ id }) && !isFlagged(id))
        .map(([id]) => id),
      duplicates: [...known.uids.values()].reduce((sum, uids) => sum + uids.length - 1, 0),
      unreadable,
    };
  }

  /** Reads what is new; resolves to the UIDs of all messages that are flagged. */
  private async read(user: LocalUser, known: Known, unreadable: string[]): Promise<Set<number>> {
    const client = imapClient(this.view, user, PATIENCE);
    try {
      await client.connect();
      const { uidValidity } = await client.mailboxOpen('INBOX', { readOnly: true });
      if (known.uidValidity !== undefined && known.uidValidity !== uidValidity) {
        unreadable.push(
          `the INBOX of ${user.address} began anew: UIDVALIDITY ${known.uidValidity}, then ${uidValidity}`,
        );
        known.uids.clear();
        known.nextUid = 1;
      }
      known.uidValidity = uidValidity;
      const flagged = new Set<number>();
      const present = new Set<number>();
      for await (const { uid, flags } of client.fetch('1:*', { flags: true }, { uid: true })) {
        if (uid === undefined) continue;
        present.add(uid);
        if (flags?.has('\\Flagged')) flagged.add(uid);
      }
      for (const [id, uids] of known.uids) {
        const left = uids.filter((uid) => present.has(uid));
        if (left.length > 0) known.uids.set(id, left);
        else known.uids.delete(id);
      }
      if ([...present].some((uid) => uid >= known.nextUid)) {
        for await (const { uid, source } of client.fetch(`${known.nextUid}:*`, { source: true }, { uid: true })) {
          // `n:*` has the last message at least; and a flag that changes meanwhile comes without the rest.
          if (uid === undefined || uid < known.nextUid || !source) continue;
          known.nextUid = uid + 1;
          const message = readLoadMessage(source.toString('latin1'));
          if (!message) continue;
          if (!message.whole) unreadable.push(`message ${uid} of ${user.address} is not what was sent`);
          known.uids.set(message.id, [...(known.uids.get(message.id) ?? []), uid]);
        }
      }
      return flagged;
    } finally {
      client.close();
    }
  }
}
