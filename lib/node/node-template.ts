import { readFileSync } from 'node:fs';
import { Duration, Size, SizeRoundingBehavior } from 'aws-cdk-lib';
import {
  BlockDeviceVolume,
  EbsDeviceVolumeType,
  IMachineImage,
  InstanceArchitecture,
  InstanceType,
  ISecurityGroup,
  LaunchTemplate,
  LaunchTemplateHttpTokens,
  MachineImage,
  OperatingSystemType,
  UserData,
} from 'aws-cdk-lib/aws-ec2';
import { IRole } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { Construct } from 'constructs';
import { checkWhole } from '../private/check-whole';
import { packagePath } from '../private/package-root';
import { MailBundle } from './mail-bundle';
import { renderEnvironment } from './node-environment';

/** Bytes of user data before they are encoded (EC2 user guide, "Run commands when you launch an EC2 instance"). */
const USER_DATA_MAX = 16_384;

/** GiB of Debian's image; EC2 starts no instance with a smaller volume. */
const IMAGE_SIZE = 8;

/** Properties of `NodeTemplate`. */
export interface NodeTemplateProps {
  /** Instance type; its processor decides the default image. */
  readonly instanceType: InstanceType;

  /**
   * Image of the nodes: Debian 13 with cloud-init, awscli and python3.
   * @default - Debian's current image for the processor, looked up at each deployment
   */
  readonly machineImage?: IMachineImage;

  /** What user data writes to `/etc/mail-platform/env`. */
  readonly environment: { [key: string]: string };

  /** Files that run on nodes. */
  readonly bundle: MailBundle;

  /** Role of the nodes. */
  readonly role: IRole;

  /** Security group of the nodes. */
  readonly securityGroup: ISecurityGroup;

  /** Root volume, gp3. Whole GiB, 8 or more. */
  readonly rootVolumeSize: Size;

  /**
   * Key of root volumes.
   * @default - the account's AWS managed key for EBS
   */
  readonly encryptionKey?: IKey;

  /**
   * Script of the bundle that user data ends in.
   * @default 'bootstrap.sh'
   */
  readonly script?: string;

  /**
   * Time after which the machine shuts itself down, whatever it does. Whole minutes.
   * @default - it goes on
   */
  readonly lifetime?: Duration;

  /**
   * Whether the machine can read its own tags.
   * @default false
   */
  readonly metadataTags?: boolean;
}

/**
 * How a node is made: Debian, IMDSv2 only, encrypted disk, no public address, and user data that fetches the bundle.
 *
 * @throws on environment values that could not be written to a node, and at synthesis when user data grew too long
 */
export class NodeTemplate extends Construct {
  /** The launch template. */
  public readonly launchTemplate: LaunchTemplate;

  constructor(scope: Construct, id: string, props: NodeTemplateProps) {
    super(scope, id);
    const { instanceType, rootVolumeSize } = props;
    const gibibytes = rootVolumeSize.toGibibytes({ rounding: SizeRoundingBehavior.NONE });
    checkWhole('rootVolumeSize', gibibytes, { min: IMAGE_SIZE, unit: 'GiB' });
    this.launchTemplate = new LaunchTemplate(this, 'LaunchTemplate', {
      instanceType,
      // Looked up when deployed and not at each launch: all nodes are of one image, and a new one rolls through them.
      machineImage: props.machineImage ?? debian(instanceType.architecture),
      userData: UserData.custom(renderUserData(props)),
      role: props.role,
      securityGroup: props.securityGroup,
      associatePublicIpAddress: false,
      detailedMonitoring: true,
      ebsOptimized: true,
      requireImdsv2: true,
      httpTokens: LaunchTemplateHttpTokens.REQUIRED,
      httpEndpoint: true,
      httpPutResponseHopLimit: 1,
      instanceMetadataTags: props.metadataTags ?? false,
      blockDevices: [
        {
          deviceName: '/dev/xvda',
          volume: BlockDeviceVolume.ebs(gibibytes, {
            volumeType: EbsDeviceVolumeType.GP3,
            encrypted: true,
            kmsKey: props.encryptionKey,
            deleteOnTermination: true,
          }),
        },
      ],
    });
    this.node.addValidation({ validate: () => this.userDataTooLong() });
  }

  /** EC2 refuses longer user data only when an instance is launched. Owners may have added commands of their own. */
  private userDataTooLong(): string[] {
    const bytes = Buffer.byteLength(this.launchTemplate.userData!.render());
    return bytes > USER_DATA_MAX
      ? [`user data must be <= ${USER_DATA_MAX} bytes, got ${bytes}; add to the bundle instead of user data`]
      : [];
  }
}

function renderUserData({ environment, bundle, script, lifetime }: NodeTemplateProps): string {
  return readFileSync(packagePath('assets', 'node', 'user-data.sh'), 'utf8')
    .replace('@LIFETIME@\n', () => (lifetime ? `shutdown --poweroff +${lifetime.toMinutes()}\n` : ''))
    .replace('@SCRIPT@', () => script ?? 'bootstrap.sh')
    .replace('@ENVIRONMENT@', () => renderEnvironment(environment))
    .replaceAll('@BUNDLE@', () => bundle.location);
}

/** @see https://wiki.debian.org/Cloud/AmazonEC2Image/Trixie */
function debian(architecture: InstanceArchitecture): IMachineImage {
  const name = architecture === InstanceArchitecture.ARM_64 ? 'arm64' : 'amd64';
  return MachineImage.fromSsmParameter(`/aws/service/debian/release/13/latest/${name}`, {
    os: OperatingSystemType.LINUX,
  });
}
