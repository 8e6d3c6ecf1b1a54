import { App, Stack } from 'aws-cdk-lib';
import { FilterOutage, MailFiltering, type MailFilteringOptions } from '../../lib/filtering';
import type { LocalCluster } from '../../local/cluster';
import type { ClientView } from '../../local/mail-clients';
import type { LocalNode } from '../../local/node';
import { CLAMD_ANSWERS, EICAR, GTUBE, INSTALL_SIGNATURE, RSPAMD_ANSWERS } from '../../test/support/filter';
import { message } from '../load/message';
import { SmtpSession } from '../load/smtp-session';
import { bootOtherNode } from './other-node';
import { endpointOf } from './servers';

/**
 * Random words from an unknown sender, again and again, look like spam, and each message is to be delivered. One that nobody
 * examined is not, so that the bench fails then.
 */
const LENIENT = { greylisting: false, junkScore: 99, rejectScore: 100, duringOutage: FilterOutage.DEFER };

/** Boots a node that filters. It is up when it refuses spam and, unless it is not to look for them, a virus. */
export async function bootFilterNode(
  cluster: LocalCluster,
  root: string,
  name: string,
  options: MailFilteringOptions,
): Promise<LocalNode> {
  const filtering = new MailFiltering(new Stack(new App(), 'Stack'), 'Filtering', { ...LENIENT, ...options });
  const node = await bootOtherNode(cluster, root, name, { ...filtering.configuration.environment });
  await node.shell(RSPAMD_ANSWERS, { timeout: 240_000 });
  const { virusScan = true } = options;
  if (virusScan) {
    await node.shell(`${INSTALL_SIGNATURE}; systemctl restart mail-virus-scan.service; ${CLAMD_ANSWERS}`, {
      timeout: 90_000,
    });
  }
  const endpoint = endpointOf(cluster, node);
  const [{ address }] = cluster.users;
  await expectRefusal(endpoint, address, GTUBE, /554 5\.7\.1 Gtube/);
  if (virusScan) await expectRefusal(endpoint, address, EICAR, /554 5\.7\.1 Refused: contains the virus/);
  return node;
}

async function expectRefusal(endpoint: ClientView, to: string, text: string, reason: RegExp): Promise<void> {
  const from = `sender@${endpoint.hostname}`;
  const session = await SmtpSession.open(endpoint);
  const answer = await session.send(from, to, `${message(from, to)}\r\n${text}`).then(
    () => 'taken',
    (error: Error) => error.message,
  );
  await session.quit();
  if (!reason.test(answer)) throw new Error(`${endpoint.address} should have said ${reason}, said ${answer}`);
}
