import { IKey } from 'aws-cdk-lib/aws-kms';
import { Secret } from 'aws-cdk-lib/aws-secretsmanager';
import { Construct } from 'constructs';
import { acknowledge } from '../compliance';
import { inRegulatoryPacks } from './rule-packs';

/** Settings of a password that machines make and use. */
export interface MachinePasswordOptions {
  readonly description: string;
  /** @default - the account's AWS managed key for Secrets Manager */
  readonly encryptionKey?: IKey;
  /** Why it is not rotated, for the rule packs. */
  readonly staysBecause: string;
}

/** A new secret `{"password": …}` of 48 letters and digits, which is not rotated: configuration files quote anything else each in its own way. */
export function createMachinePassword(scope: Construct, options: MachinePasswordOptions): Secret {
  const secret = new Secret(scope, 'Secret', {
    description: options.description,
    encryptionKey: options.encryptionKey,
    generateSecretString: {
      secretStringTemplate: '{}',
      generateStringKey: 'password',
      passwordLength: 48,
      excludePunctuation: true,
    },
  });
  acknowledge(
    secret,
    ...['AwsSolutions-SMG4', ...inRegulatoryPacks('SecretsManagerRotationEnabled')].map((id) => ({
      id,
      reason: options.staysBecause,
    })),
  );
  return secret;
}
