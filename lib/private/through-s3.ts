import { Stack } from 'aws-cdk-lib';
import { IConstruct } from 'constructs';

/**
 * Condition of a right to a key: for what S3 does with it for the principal, and for nothing else.
 *
 * @param region of the bucket; by default that of the construct's stack
 */
export function throughS3(scope: IConstruct, region?: string): { [operator: string]: { [key: string]: string } } {
  const stack = Stack.of(scope);
  return { StringEquals: { 'kms:ViaService': `s3.${region ?? stack.region}.${stack.urlSuffix}` } };
}
