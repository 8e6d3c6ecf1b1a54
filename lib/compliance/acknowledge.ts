import { Stack, Token, Validations } from 'aws-cdk-lib';
import { IConstruct } from 'constructs';

/** A finding of a rule pack that was looked at and is right to stay. */
export interface Acknowledgement {
  /**
   * Finding id as the rule pack reports it: `AwsSolutions-EC23`, or with the finding in brackets where the rule reports
   * several, `AwsSolutions-IAM5[Resource::*]`. For a finding that holds a token see `findingId`.
   */
  readonly id: string;

  /**
   * Why the finding is right to stay: a fact, its scope, the control in its place, and the test of that control. At
   * least 20 characters.
   */
  readonly reason: string;
}

/**
 * Acknowledges findings on one construct (and what is below it), for cdk-nag and any other plugin that reads the
 * acknowledged rules from the construct tree.
 *
 * Put it on the narrowest construct that has the finding, in the code that creates that construct. The rule pack itself
 * is not needed: aws-cdk-lib records the acknowledgement, packs look it up.
 *
 * @throws when an id carries the pack as a prefix (`AwsSolutions::AwsSolutions-S1`) or a blank, which packs do not
 *   match, or when a reason says nothing.
 */
export function acknowledge(construct: IConstruct, ...acknowledgements: Acknowledgement[]): void {
  for (const { id, reason } of acknowledgements) {
    // Outside brackets `::` sets the plugin apart, and aws-cdk-lib turns blanks into hyphens: in both cases the pack,
    // which compares the whole text, would report the finding as before.
    if (id.replace(/\[.*\]$/s, '').includes('::') || /\s/.test(id) || Token.isUnresolved(id)) {
      throw new Error(
        `acknowledgement must be a finding id as the pack reports it, got ${JSON.stringify(id)}; ` +
          'leave out the plugin prefix and blanks, resolve tokens with findingId',
      );
    }
    if (reason.trim().length < 20) {
      throw new Error(
        `acknowledgement of ${id} must have a reason of 20 characters or more, got ${JSON.stringify(reason)}`,
      );
    }
    Validations.of(construct).acknowledge({ id, reason });
  }
}

/**
 * The id of a finding about a value that may hold tokens, written as cdk-nag writes it: `<LogicalId.Arn>` for an
 * attribute, `<LogicalId>` for a reference.
 *
 * @param scope a construct in the stack that has the finding
 * @param rule rule id, such as `AwsSolutions-IAM5`
 * @param kind what the finding is about, such as `Resource` or `Action`
 * @param value the value found
 */
export function findingId(scope: IConstruct, rule: string, kind: string, value: string): string {
  return `${rule}[${kind}::${flatten(Stack.of(scope).resolve(value))}]`;
}

// The same walk as cdk-nag's flattenCfnReference; the library must not load cdk-nag when it runs.
function flatten(value: unknown): string {
  if (value === undefined) {
    return '';
  }
  if (typeof value === 'string') {
    return value.replace(/\$\{/g, '<').replace(/\}/g, '>');
  }
  const intrinsic = value as { [name: string]: unknown };
  if (intrinsic['Fn::Join']) {
    const [delimiter, items] = intrinsic['Fn::Join'] as [string, unknown[]];
    return items.map(flatten).join(delimiter);
  }
  if (intrinsic['Fn::Sub']) {
    return flatten(intrinsic['Fn::Sub']);
  }
  if (intrinsic['Fn::GetAtt']) {
    const [resource, attribute] = intrinsic['Fn::GetAtt'] as [string, string];
    return `<${flatten(resource)}.${flatten(attribute)}>`;
  }
  if (intrinsic['Fn::ImportValue']) {
    return flatten(intrinsic['Fn::ImportValue']);
  }
  if (intrinsic.Ref) {
    return `<${flatten(intrinsic.Ref)}>`;
  }
  return JSON.stringify(value);
}
