import { closeSync, mkdirSync, openSync, statSync } from 'node:fs';
import * as path from 'node:path';
import type { LocalAws } from './aws';
import { ec2, elements } from './ec2';
import type { LocalNode } from './node';
import { run } from './run';
import type { LocalStore } from './store';
import type { Template } from './template';

/** Size of the file that stands for a volume; what it takes is what is written. */
const SIZE = '2G';

/** Where nodes expect EFS with old mail, if there is one: a folder, as for the store (store.ts). */
const OLD_MAIL = '/srv/mail-old';

interface LocalVolume {
  readonly id: string;
  /** Loop device. */
  readonly device: string;
  /** The device is given up when the last who has it open is gone. */
  readonly descriptor: number;
  /** Node that has it. */
  holder?: LocalNode;
}

/**
 * What stands for EBS: files of this machine behind loop devices. EC2 itself (moto) says to which instance a volume is
 * attached; its device then appears on that node, under the name that udev gives it on Nitro, and goes with the attachment.
 */
export class LocalVolumes implements LocalStore {
  private readonly volumes: LocalVolume[] = [];
  private readonly ids = new Map<string, string>();
  private readonly nodes: LocalNode[] = [];
  private timer?: NodeJS.Timeout;
  private stopped = false;
  private hasOldMail = false;

  constructor(
    private readonly aws: LocalAws,
    private readonly folder: string,
  ) {}

  /** Whether the template has volumes. */
  public get exist(): boolean {
    return this.ids.size > 0;
  }

  /** Id of a volume of the template. */
  public idOf(logicalId: string): string | undefined {
    return this.ids.get(logicalId);
  }

  /** Makes the volumes of the template. */
  public async provide(template: Template): Promise<void> {
    this.hasOldMail = template.ofType('AWS::EFS::FileSystem').length > 0;
    for (const [logicalId, { Properties }] of template.ofType('AWS::EC2::Volume')) {
      const tags = template.resolve(Properties.Tags) as { Key: string; Value: string }[];
      this.ids.set(logicalId, await this.create(template.text(Properties.AvailabilityZone), tags));
    }
  }

  /** Makes a volume; resolves to its id. */
  public async create(zone: string, tags: readonly { Key: string; Value: string }[], size = SIZE): Promise<string> {
    const tagged = tags.flatMap(({ Key, Value }, index): [string, string][] => [
      [`TagSpecification.1.Tag.${index + 1}.Key`, Key],
      [`TagSpecification.1.Tag.${index + 1}.Value`, Value],
    ]);
    const [id] = elements(
      await ec2(this.aws, 'CreateVolume', {
        ...{ AvailabilityZone: zone, Size: '2', VolumeType: 'gp3', Encrypted: 'true' },
        'TagSpecification.1.ResourceType': 'volume',
        ...Object.fromEntries(tagged),
      }),
      'volumeId',
    );
    const file = path.join(this.folder, `${id}.disk`);
    await run('truncate', ['--size', size, file]);
    const device = (await run('losetup', ['--find', '--show', file])).stdout.trim();
    this.volumes.push({ id, device, descriptor: openSync(device, 'r') });
    await run('losetup', ['--detach', device]); // when the last has closed it
    return id;
  }

  /** The device behind a volume, as this machine sees it. */
  public deviceOf(id: string): string {
    const found = this.volumes.find((volume) => volume.id === id);
    if (!found) throw new Error(`no volume ${id}`);
    return found.device;
  }

  /** Id of the instance that EC2 has attached a volume to. */
  public async holderOf(id: string): Promise<string | undefined> {
    return elements(await ec2(this.aws, 'DescribeVolumes', { 'VolumeId.1': id }), 'instanceId')[0];
  }

  /** The node is an instance of EC2. */
  public async launch(node: LocalNode): Promise<void> {
    if (!this.exist) return;
    const { instanceId, zone } = node.planned;
    await ec2(this.aws, 'RunInstances', {
      ...{ ImageId: 'ami-local', MinCount: '1', MaxCount: '1', ClientToken: instanceId },
      'Placement.AvailabilityZone': zone,
    });
    this.nodes.push(node);
  }

  /** The instance has ended, and with it its attachments. */
  public async terminate(node: LocalNode): Promise<void> {
    if (!this.exist) return;
    this.nodes.splice(this.nodes.indexOf(node), 1);
    await ec2(this.aws, 'TerminateInstances', { 'InstanceId.1': node.planned.instanceId });
  }

  public async start(): Promise<void> {
    const look = async () => {
      for (const volume of this.volumes) await this.plug(volume).catch(() => undefined); // at the next look
      if (!this.stopped) this.timer = setTimeout(look, 300);
    };
    await look();
  }

  public stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
    for (const { descriptor } of this.volumes.splice(0)) closeSync(descriptor);
  }

  public arguments(): string[] {
    if (!this.hasOldMail) return [];
    const folder = path.join(this.folder, 'old');
    mkdirSync(folder, { recursive: true });
    return [`--bind=${folder}:${OLD_MAIL}`];
  }

  public files(): { readonly [path: string]: string } {
    return {};
  }

  private async plug(volume: LocalVolume): Promise<void> {
    const instance = await this.holderOf(volume.id);
    const node = this.nodes.find(({ planned }) => planned.instanceId === instance);
    if (node === volume.holder) return;
    const name = `/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_${volume.id.replace('-', '')}`;
    if (volume.holder && this.nodes.includes(volume.holder)) await volume.holder.exec(['rm', '-f', name]);
    volume.holder = undefined;
    if (!node) return;
    const number = statSync(volume.device).rdev;
    await node.shell(`mkdir -p ${path.dirname(name)}; rm -f ${name}; mknod ${name} b ${number >> 8} ${number & 0xff}`);
    volume.holder = node;
  }
}
