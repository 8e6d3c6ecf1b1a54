import { CfnAlarm } from 'aws-cdk-lib/aws-cloudwatch';
import { DocPage, markdownTable } from './doc-page';
import { stacksWithEverything } from './stacks-with-everything';

/** docs/alarms.md, whose table is made from the alarms of stacks with every part. */
export const ALARMS_PAGE = new DocPage('alarms.md', { alarms });

/** What each alarm says, by its logical id without the hash: so its name begins in CloudWatch, after the stack's. */
export function alarmDescriptions(): Map<string, string> {
  const alarms = stacksWithEverything().flatMap((stack) =>
    stack.node
      .findAll()
      .filter((construct) => construct instanceof CfnAlarm)
      .map((alarm): [string, string] => [
        (stack.resolve(alarm.logicalId) as string).slice(0, -8),
        (alarm.alarmDescription ?? '').replace(/\$\{Token\[.*?\]\}/g, '…'),
      ]),
  );
  // Those of the first shard stand for all.
  return new Map(alarms.filter(([id]) => !/Shard([2-9]|\d\d)$/.test(id)));
}

function alarms(): string {
  const rows = [...alarmDescriptions()]
    .sort(([one], [other]) => one.localeCompare(other, 'en'))
    .map(([id, description]) => {
      const [what, ...first] = description.replaceAll('|', '\\|').split(/\s*Check first: /);
      return [`\`${id}\``, what, first.join(' ')];
    });
  return markdownTable(['alarm', 'what happened', 'check first'], ['---', '---', '---'], rows);
}

if (require.main === module) {
  ALARMS_PAGE.write();
}
