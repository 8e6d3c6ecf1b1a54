import { Stack, Tags } from 'aws-cdk-lib';
import { ManagedPolicy, PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { Construct } from 'constructs';
import { acknowledge, findingId } from '../compliance';
import { MailFleet } from '../node';

/** Tag that nodes have, and other instances of the account have not; its value is the name of the cluster. */
const CLUSTER_TAG = 'mail-platform:cluster';

/** Gives nodes the tag by which sessions on them are let in. Nodes are replaced once when it is new. */
export function tagNodes(fleet: MailFleet): void {
  for (const template of fleet.launchTemplates) {
    Tags.of(template).add(CLUSTER_TAG, fleet.clusterName);
  }
}

/** What a person types to start a session by a document; with the id of a node in place of `NODE`. */
export function sessionCommand(scope: Construct, documentName: string): string {
  return `aws ssm start-session --region ${Stack.of(scope).region} --document-name ${documentName} --target NODE`;
}

/**
 * What a person's policy must have to start Session Manager's sessions on nodes by one document and by no other, and to end their own.
 *
 * @param sid of the statement that names the document
 * @see https://docs.aws.amazon.com/systems-manager/latest/userguide/getting-started-restrict-access-examples.html
 */
export function letStartSessions(
  scope: Construct,
  policy: ManagedPolicy,
  { sid, clusterName, documentName }: { sid: string; clusterName: string; documentName: string },
): void {
  const { partition, region, account } = Stack.of(scope);
  const nodes = `arn:${partition}:ec2:${region}:${account}:instance/*`;
  // Session ids begin with the name that a person signed in by.
  const own = `arn:${partition}:ssm:${region}:${account}:session/\${aws:userid}-*`;
  policy.addStatements(
    new PolicyStatement({
      sid: 'StartSessionsOnNodes',
      actions: ['ssm:StartSession'],
      resources: [nodes],
      conditions: {
        StringEquals: { [`ssm:resourceTag/${CLUSTER_TAG}`]: clusterName },
        // Without it a session that names no document would need no permission for one, and would not be logged.
        BoolIfExists: { 'ssm:SessionDocumentAccessCheck': 'true' },
      },
    }),
    new PolicyStatement({
      sid,
      actions: ['ssm:StartSession'],
      resources: [`arn:${partition}:ssm:${region}:${account}:document/${documentName}`],
    }),
    new PolicyStatement({
      sid: 'OwnSessions',
      actions: ['ssm:ResumeSession', 'ssm:TerminateSession', 'ssmmessages:OpenDataChannel'],
      resources: [own],
    }),
  );
  acknowledge(
    policy,
    {
      id: findingId(scope, 'AwsSolutions-IAM5', 'Resource', nodes),
      reason:
        'Nodes come and go, their ids are not known before. A tag that only nodes of this cluster have is the scope ' +
        '(test/operations/mail-operators.test.ts).',
    },
    {
      id: findingId(scope, 'AwsSolutions-IAM5', 'Resource', own),
      reason:
        'Session ids begin with the id of the person who opened them, and that is the scope: nobody ends or resumes a ' +
        "session of somebody else's (test/operations/mail-operators.test.ts).",
    },
  );
}
