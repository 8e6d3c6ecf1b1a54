import { connect } from 'node:net';
import { messageOf } from '../log';

/** Socket of the node's root helper (`assets/node`, `mail-control`). */
export const CONTROL_SOCKET = '/run/mail-platform/control.sock';

const LONGEST_ANSWER = 64 * 1024;

/** What the agent has done by root. Every call resolves when it is done, and rejects when it isn't or takes too long. */
export class ControlClient {
  public constructor(private readonly path: string = CONTROL_SOCKET) {}

  /** Ends deliveries that may be for users whom the ring file doesn't give to this node. */
  public async releaseDeliveries(): Promise<void> {
    await this.request('release-deliveries', 30_000);
  }

  /** Ends whatever else has a mailbox open that the ring file doesn't give to this node. */
  public async releaseSessions(): Promise<void> {
    await this.request('release-sessions', 30_000);
  }

  /** Has the kernel forget what it read in mailboxes: users who moved away may come back. */
  public async forget(): Promise<void> {
    await this.request('forget', 30_000);
  }

  /** Kills Dovecot and Postfix, keeps them down and cuts the store. */
  public async fence(): Promise<void> {
    await this.request('fence', 20_000);
  }

  /** Undoes `fence`; nothing is done when the node isn't fenced. */
  public async unfence(): Promise<void> {
    await this.request('unfence', 60_000);
  }

  /** Keeps the kernel's way to the store open until `deadline`, in milliseconds of the machine's time since boot. */
  public async alive(deadline: number): Promise<void> {
    await this.request(`alive ${Math.round(deadline)}`, 1_000);
  }

  /**
   * Removes the locks that the former homes of this node's users left. Resolves when that has begun.
   *
   * @param before addresses of the nodes among which the users had their homes before; none when that is not known
   */
  public async takeOver(before: readonly string[]): Promise<void> {
    await this.request(`take-over ${before.join(',') || '-'}`, 10_000);
  }

  /** Takes over the queue of a node that is down. */
  public async adopt(instanceId: string): Promise<string> {
    return this.request(`adopt ${instanceId}`, 600_000);
  }

  /** Tries to deliver every queued message now. */
  public async flush(): Promise<void> {
    await this.request('flush', 30_000);
  }

  /** One line there, one line back: `ok …` or `error …`. */
  private request(line: string, limit: number): Promise<string> {
    return new Promise<string>((resolve, reject) => {
      const socket = connect(this.path);
      const fail = (reason: unknown) => {
        reject(new Error(`control ${line.split(' ')[0]}: ${messageOf(reason)}`));
        socket.destroy();
      };
      // Not socket.setTimeout(), which starts anew at each byte.
      const timer = setTimeout(() => fail(`no answer within ${limit} ms`), limit);
      let answer = '';
      socket.setEncoding('utf8');
      socket.on('connect', () => socket.write(`${line}\n`));
      socket.on('data', (chunk: string) => {
        answer += chunk;
        if (answer.length > LONGEST_ANSWER) fail('answer is too long');
      });
      socket.on('error', fail);
      socket.on('close', () => {
        clearTimeout(timer);
        const [, word, rest = ''] = /^(ok|error)(?: (.*))?\n/.exec(answer) ?? [];
        if (word === 'ok') resolve(rest);
        else fail(word === 'error' ? rest : `answered ${JSON.stringify(answer.slice(0, 200))}`);
      });
    });
  }
}
