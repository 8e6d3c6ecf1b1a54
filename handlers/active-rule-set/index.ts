import { DescribeActiveReceiptRuleSetCommand, SESClient, SetActiveReceiptRuleSetCommand } from '@aws-sdk/client-ses';
import type { CloudFormationCustomResourceEvent } from 'aws-lambda';
import { answer } from '../support/custom-resource';

/** SES takes one request of this kind a second for the whole account, so others are often in the way. */
const ATTEMPTS = 8;

/**
 * Custom resource: makes a receipt rule set the active one, of which an account has one in a region. CloudFormation can
 * make rule sets but not activate them.
 *
 * Properties: `RuleSetName`; `TakeOver`, `true` to replace a rule set that is not ours. The physical id is the name of
 * the rule set that was activated last.
 *
 * SES has no conditional activation: of two stacks that are deployed within the same second the later one wins.
 */
export async function handler(event: CloudFormationCustomResourceEvent): Promise<void> {
  await answer(event, async () => {
    const ses = new SESClient({ maxAttempts: ATTEMPTS });
    if (event.RequestType === 'Delete') {
      await deactivate(ses, event.ResourceProperties.RuleSetName);
      return { physicalResourceId: event.PhysicalResourceId };
    }
    const name = ruleSetName(event);
    const former = event.RequestType === 'Update' ? event.PhysicalResourceId : undefined;
    await activate(ses, name, former, event.ResourceProperties.TakeOver === 'true');
    return { physicalResourceId: name };
  });
}

async function activate(ses: SESClient, name: string, former: string | undefined, takeOver: boolean): Promise<void> {
  const active = await activeRuleSet(ses);
  if (active === name) {
    return;
  }
  if (active !== undefined && active !== former && !takeOver) {
    const conflict = `the receipt rule set ${active} is active, and there can be only one in an account and region`;
    if (name === former) {
      // An update that failed for this very reason is rolled back to here: to fail again would leave the stack stuck.
      console.warn(JSON.stringify({ ruleSet: name, warning: `${conflict}; it is left as it is` }));
      return;
    }
    throw new Error(
      `${conflict}; ${name} was not activated. Add rules to ${active} instead, deactivate it, or set takeOver`,
    );
  }
  await ses.send(new SetActiveReceiptRuleSetCommand({ RuleSetName: name }));
  console.info(JSON.stringify({ ruleSet: name, replaced: active ?? null }));
}

/**
 * By the name in the properties, not by the physical id: a creation whose answer was lost has an id that CloudFormation
 * made up, and an active rule set can't be deleted.
 */
async function deactivate(ses: SESClient, name: unknown): Promise<void> {
  const active = await activeRuleSet(ses);
  if (active === undefined || active !== name) {
    console.info(JSON.stringify({ ruleSet: name, leftActive: active ?? null }));
    return;
  }
  // Without a name SES deactivates what is active.
  await ses.send(new SetActiveReceiptRuleSetCommand({}));
  console.info(JSON.stringify({ ruleSet: name, deactivated: true }));
}

async function activeRuleSet(ses: SESClient): Promise<string | undefined> {
  const { Metadata } = await ses.send(new DescribeActiveReceiptRuleSetCommand({}));
  return Metadata?.Name;
}

function ruleSetName(event: CloudFormationCustomResourceEvent): string {
  const name: unknown = event.ResourceProperties.RuleSetName;
  if (typeof name !== 'string' || name === '') {
    throw new Error(`RuleSetName must be the name of a receipt rule set, got ${JSON.stringify(name)}`);
  }
  return name;
}
