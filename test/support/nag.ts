import { Stack } from 'aws-cdk-lib';
import { AwsSolutionsChecks, HIPAASecurityChecks, NagPack, NIST80053R5Checks, PCIDSS321Checks } from 'cdk-nag';

/**
 * Open findings of the four rule packs on a stack, one `rule path message` to a line, so that a failing
 * `expect(openFindings(stack)).toEqual([])` says what to fix.
 */
export function openFindings(stack: Stack): string[] {
  const packs: NagPack[] = [
    new AwsSolutionsChecks(stack),
    new NIST80053R5Checks(stack),
    new HIPAASecurityChecks(stack),
    new PCIDSS321Checks(stack),
  ];
  return packs.flatMap((pack) =>
    pack
      .validateScope(stack)
      .violations.flatMap((violation) =>
        violation.violatingResources.map(
          (resource) => `${violation.ruleName} ${resource.constructPath} ${violation.description}`,
        ),
      ),
  );
}

/** Open findings without those that begin with one of the prefixes: for inputs that a test brings, not the construct. */
export function openFindingsBut(stack: Stack, ...pathPrefixes: string[]): string[] {
  return openFindings(stack).filter((line) => !pathPrefixes.some((prefix) => line.split(' ')[1].startsWith(prefix)));
}
