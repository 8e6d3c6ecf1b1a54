import { Token } from 'aws-cdk-lib';

/**
 * ACM makes the first name of a certificate its common name, which RFC 5280 allows 64 characters.
 *
 * @throws when it is longer
 */
export function checkCommonName(prop: string, name: string): void {
  if (!Token.isUnresolved(name) && name.length > 64) {
    throw new Error(
      `${prop} must have 64 characters or fewer for a certificate of ACM, got ${name.length}; choose a shorter name`,
    );
  }
}
