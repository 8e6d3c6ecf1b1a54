import { DKIM_SELECTORS } from '../../lib/dns/dkim-text';
import { text, wholeNumber } from '../support/environment';
import { RotationEvent } from '../support/secret-versions';
import { DkimSecret, SigningKey, Stage } from './dkim-secret';
import { newPrivateKey, publishedText } from './private-key';
import { SelectorRecords } from './selector-records';

/** Revokes the key before, on a schedule `after-overlap`, and by hand `now`, as when it leaked. */
export interface RetireEvent {
  readonly retire: 'after-overlap' | 'now';
}

const DAY = 24 * 3600 * 1000;

/**
 * Rotates the DKIM key of a mail system between two selectors (docs/dns.md).
 *
 * Environment: `SECRET_ARN`, `HOSTED_ZONE_ID`, `HOSTNAME` (the selectors are below it), `OVERLAP_DAYS`, and
 * `PROPAGATION_SECONDS`, which is how long others may still answer what the new selector was before.
 *
 * @throws when a step can't be done; Secrets Manager repeats it, and the key in use stays
 * @see https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda-functions.html
 */
export async function handler(event: RotationEvent | RetireEvent): Promise<void> {
  const records = new SelectorRecords(text('HOSTED_ZONE_ID'), text('HOSTNAME'));
  if ('retire' in event) {
    return retire(
      new DkimSecret(text('SECRET_ARN')),
      records,
      event.retire === 'now' ? 0 : wholeNumber('OVERLAP_DAYS'),
    );
  }
  const secret = new DkimSecret(event.SecretId);
  const version = event.ClientRequestToken;
  if (await secret.isCurrent(version)) {
    return;
  }
  switch (event.Step) {
    case 'createSecret':
      return createKey(secret, records, version);
    case 'setSecret':
      return publish(secret, records, version);
    case 'testSecret':
      return waitUntilKnown(secret, records, version);
    case 'finishSecret':
      // The key before becomes AWSPREVIOUS by this.
      return secret.makeCurrent(version);
    default:
      throw new Error(`Step must be one of a rotation, got ${JSON.stringify(event.Step)}`);
  }
}

async function createKey(secret: DkimSecret, records: SelectorRecords, version: string): Promise<void> {
  if (await secret.read(Stage.PENDING, version)) {
    return;
  }
  const current = await secret.read(Stage.CURRENT);
  const selector = current ? otherThan(current.selector) : DKIM_SELECTORS[0];
  const previous = await secret.read(Stage.PREVIOUS);
  if (previous?.selector === selector && (await records.read(selector)) === publishedText(previous)) {
    throw new Error(
      `${selector} still stands for mail in transit; rotate ${wholeNumber('OVERLAP_DAYS')} days after the last rotation, ` +
        'or invoke this function with {"retire": "now"} first',
    );
  }
  const key: SigningKey = { selector, privateKey: newPrivateKey(), createdAt: new Date().toISOString() };
  await secret.addPending(version, key);
}

async function publish(secret: DkimSecret, records: SelectorRecords, version: string): Promise<void> {
  const pending = await needPending(secret, version);
  await records.write(pending.selector, publishedText(pending));
}

/** Nobody may sign with the new key while a verifier's resolver still has what the selector was before. */
async function waitUntilKnown(secret: DkimSecret, records: SelectorRecords, version: string): Promise<void> {
  const pending = await needPending(secret, version);
  // The very first key: there is no mail that it could break.
  if (await secret.read(Stage.CURRENT)) {
    await new Promise((resolve) => setTimeout(resolve, wholeNumber('PROPAGATION_SECONDS') * 1000));
  }
  if ((await records.read(pending.selector)) !== publishedText(pending)) {
    throw new Error(`${pending.selector} is not published as it was written`);
  }
}

async function retire(secret: DkimSecret, records: SelectorRecords, overlapDays: number): Promise<void> {
  const current = await secret.read(Stage.CURRENT);
  const previous = await secret.read(Stage.PREVIOUS);
  if (!current || !previous || previous.selector === current.selector) {
    return;
  }
  // Since when the current one signs is not kept anywhere; it was made minutes before.
  if (Date.now() - Date.parse(current.createdAt) < overlapDays * DAY) {
    return;
  }
  // The selector may have the key of a rotation under way already.
  if ((await records.read(previous.selector)) === publishedText(previous)) {
    await records.revoke(previous.selector);
    console.log(JSON.stringify({ revoked: previous.selector, createdAt: previous.createdAt }));
  }
}

async function needPending(secret: DkimSecret, version: string): Promise<SigningKey> {
  const pending = await secret.read(Stage.PENDING, version);
  if (!pending) {
    throw new Error(`version ${version} has no key`);
  }
  return pending;
}

function otherThan(selector: string): string {
  return DKIM_SELECTORS.find((other) => other !== selector)!;
}
