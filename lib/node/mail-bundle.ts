import { IKey } from 'aws-cdk-lib/aws-kms';
import { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { Asset } from 'aws-cdk-lib/aws-s3-assets';
import { Construct } from 'constructs';
import { packagePath } from '../private/package-root';

/** Properties of `MailBundle`. */
export interface MailBundleProps {
  /**
   * Folder of the files, with a `bootstrap.sh` that nodes run as root.
   * @default - the files of this package
   */
  readonly path?: string;

  /**
   * Key of the CDK assets bucket, for accounts that were bootstrapped with a customer key.
   * @default - the assets bucket has no customer key
   */
  readonly assetsKey?: IKey;
}

/**
 * The files that run on a node, as one zip in the CDK assets bucket. Its name is the hash of its content, so a changed
 * file changes the launch template, which replaces the nodes.
 *
 * @throws when the package was not built (the agent is missing)
 */
export class MailBundle extends Construct {
  /** `bucket/key` of the zip. */
  public readonly location: string;

  /** What a node's role needs to read exactly this zip. */
  public readonly statements: PolicyStatement[];

  constructor(scope: Construct, id: string, props: MailBundleProps = {}) {
    super(scope, id);
    const asset = new Asset(this, 'Asset', {
      path: props.path ?? builtFiles(),
      // User data is in the launch template.
      exclude: ['user-data.sh'],
    });
    this.location = `${asset.s3BucketName}/${asset.s3ObjectKey}`;
    this.statements = [
      new PolicyStatement({
        sid: 'ReadBundle',
        actions: ['s3:GetObject'],
        // Not asset.grantRead(), which opens the whole assets bucket.
        resources: [asset.bucket.arnForObjects(asset.s3ObjectKey)],
      }),
    ];
    if (props.assetsKey) {
      this.statements.push(
        new PolicyStatement({ sid: 'DecryptBundle', actions: ['kms:Decrypt'], resources: [props.assetsKey.keyArn] }),
      );
    }
  }
}

function builtFiles(): string {
  packagePath('assets', 'node', 'agent', 'mail-agent.js');
  return packagePath('assets', 'node');
}
