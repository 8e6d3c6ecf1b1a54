import { CustomResource, Duration } from 'aws-cdk-lib';
import { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { IReceiptRuleSet } from 'aws-cdk-lib/aws-ses';
import { Construct } from 'constructs';
import { acknowledge } from '../compliance';
import { HandlerFunction } from '../private/handler-function';

/** Properties of `ActiveReceiptRuleSet`. */
export interface ActiveReceiptRuleSetProps {
  /** The rule set to activate. One stack only should activate it: the deletion of any of several deactivates it. */
  readonly ruleSet: IReceiptRuleSet;

  /**
   * Whether to replace a rule set that is active and is not of this stack. That one is not activated again when this
   * stack is deleted.
   * @default false - the deployment fails and names the active rule set
   */
  readonly takeOver?: boolean;

  /**
   * Key of the function's logs.
   * @default - CloudWatch Logs' own key
   */
  readonly encryptionKey?: IKey;
}

/**
 * Makes a receipt rule set the active one, which CloudFormation can't: SES has one active rule set in an account and
 * region, and receives no mail without.
 *
 * A deployment replaces nothing but what it activated itself before; a second stack in the same account fails with the
 * name of the rule set that is in its way. When the construct goes, the rule set is deactivated only if it is still the
 * active one. What somebody else activated meanwhile stays.
 *
 * @see https://docs.aws.amazon.com/ses/latest/APIReference/API_SetActiveReceiptRuleSet.html
 */
export class ActiveReceiptRuleSet extends Construct {
  /** Name of the rule set, known only when it is active. */
  public readonly ruleSetName: string;

  constructor(scope: Construct, id: string, props: ActiveReceiptRuleSetProps) {
    super(scope, id);
    const handler = new HandlerFunction(this, 'Handler', {
      handler: 'active-rule-set',
      description: 'Activates the receipt rule set of the mail system',
      encryptionKey: props.encryptionKey,
      statements: [
        new PolicyStatement({
          actions: ['ses:DescribeActiveReceiptRuleSet', 'ses:SetActiveReceiptRuleSet'],
          resources: ['*'],
        }),
      ],
      calls:
        'CloudFormation alone calls this function, once for a change of the stack, and sees its failure as that of the ' +
        'deployment. It talks to SES only, over TLS, and reaches no mail (test/delivery/active-rule-set.test.ts).',
    });
    acknowledge(handler, {
      id: 'AwsSolutions-IAM5[Resource::*]',
      reason:
        'Which rule set is active is a setting of the account in a region; its two actions have no resource. The ' +
        'function replaces only what it activated itself (test/delivery/active-rule-set.test.ts).',
    });
    const active = new CustomResource(this, 'Active', {
      resourceType: 'Custom::ActiveReceiptRuleSet',
      serviceToken: handler.function.functionArn,
      serviceTimeout: Duration.minutes(3),
      properties: { RuleSetName: props.ruleSet.receiptRuleSetName, TakeOver: props.takeOver ?? false },
    });
    // Rules are children of their set: mail that came before them would be refused.
    active.node.addDependency(props.ruleSet);
    this.ruleSetName = active.ref;
  }
}
