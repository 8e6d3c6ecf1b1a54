import { KMSClient, SignCommand } from '@aws-sdk/client-kms';
import { signedText, statement } from './chain/manifest';

/** Signs manifests with a KMS key of the kind ECC_NIST_P256. */
export class Signer {
  constructor(
    private readonly kms: KMSClient,
    private readonly keyId: string,
  ) {}

  /** The manifest as it is stored, signature included. */
  public async sign(line: string): Promise<string> {
    const { Signature, KeyId } = await this.kms.send(
      new SignCommand({
        KeyId: this.keyId,
        Message: Buffer.from(statement(line)),
        MessageType: 'RAW',
        SigningAlgorithm: 'ECDSA_SHA_256',
      }),
    );
    return signedText(line, KeyId!, Signature!);
  }
}
