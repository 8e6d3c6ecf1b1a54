import { Size, SizeRoundingBehavior, Token } from 'aws-cdk-lib';
import { InstanceType } from 'aws-cdk-lib/aws-ec2';

/** Size and speed of a gp3 volume. */
export interface Gp3VolumeOptions {
  /**
   * Whole GiB, up to 64 TiB. It can grow later, never shrink.
   * @default Size.gibibytes(500)
   */
  readonly size?: Size;

  /**
   * Operations a second: 3000 to 80 000, 500 at most for each GiB.
   * @default 3000
   */
  readonly iops?: number;

  /**
   * MiB a second: 125 to 2000, a quarter of `iops` at most.
   * @default 125
   */
  readonly throughput?: number;
}

/** Size and speed of an io2 Block Express volume. */
export interface Io2VolumeOptions {
  /** Whole GiB, 4 GiB to 64 TiB. It can grow later, never shrink. */
  readonly size: Size;

  /** Operations a second: 100 to 256 000, 1000 at most for each GiB. */
  readonly iops: number;
}

const SIZE_MAX = Size.tebibytes(64).toGibibytes();

/**
 * Operations a second (16 KiB) that the Graviton 3 sizes of the families c, m and r carry: all day, and for half an hour a day.
 *
 * @see https://docs.aws.amazon.com/ec2/latest/instancetypes/gp.html
 */
const CARRIED: { [size: string]: { readonly always: number; readonly atMost: number } } = {
  medium: { always: 2_500, atMost: 40_000 },
  large: { always: 3_600, atMost: 40_000 },
  xlarge: { always: 6_000, atMost: 40_000 },
  '2xlarge': { always: 12_000, atMost: 40_000 },
  '4xlarge': { always: 20_000, atMost: 40_000 },
  '8xlarge': { always: 40_000, atMost: 40_000 },
  '12xlarge': { always: 60_000, atMost: 60_000 },
  '16xlarge': { always: 80_000, atMost: 80_000 },
};

/**
 * The kind of disk that a shard lives on, with AWS's limits of 2026; a region may have lower ones, which the deployment
 * then tells.
 *
 * @see https://docs.aws.amazon.com/ebs/latest/userguide/ebs-volume-types.html
 */
export class ShardVolume {
  /**
   * General purpose SSD.
   *
   * @throws when size, operations or throughput are out of AWS's limits
   */
  public static gp3(options: Gp3VolumeOptions = {}): ShardVolume {
    const size = checkSize('gp3', 1, options.size ?? Size.gibibytes(500));
    const iops = checkIops('gp3', size, options.iops ?? 3_000, 3_000, 80_000, 500);
    const throughput = options.throughput ?? 125;
    checkRange('throughput of gp3 volumes', throughput, 125, 2_000, 'MiB a second');
    if (bothKnown(throughput, iops) && throughput > iops / 4) {
      throw new Error(
        `throughput of gp3 volumes must be <= a quarter of its iops (${iops / 4} MiB a second), got ${throughput}; ` +
          `raise iops to ${throughput * 4}`,
      );
    }
    return new ShardVolume('gp3', size, iops, throughput);
  }

  /**
   * SSD with operations that are kept free for it, and ten times fewer failures.
   *
   * @throws when size or operations are out of AWS's limits
   */
  public static io2(options: Io2VolumeOptions): ShardVolume {
    const size = checkSize('io2', 4, options.size);
    return new ShardVolume('io2', size, checkIops('io2', size, options.iops, 100, 256_000, 1_000));
  }

  private constructor(
    /** Name of the volume type. */
    public readonly type: string,
    public readonly size: Size,
    /** Operations a second. */
    public readonly iops: number,
    /**
     * MiB a second.
     * @default - follows from iops: a quarter, 4000 at most
     */
    public readonly throughput?: number,
  ) {}

  /**
   * What is wrong about nodes of this type with such a volume, as far as it is known: Graviton 3 in the families c, m and r.
   *
   * @returns nothing when they can carry it always
   * @throws when they can't carry its operations at any time
   */
  public shortcomingOn(instanceType: InstanceType): string | undefined {
    const name = instanceType.toString();
    const [, size] = /^[cmr]7gd?\.([0-9a-z]+)$/.exec(name) ?? [];
    const carried = CARRIED[size];
    if (!carried || Token.isUnresolved(this.iops)) {
      return undefined;
    }
    if (this.iops > carried.atMost) {
      throw new Error(
        `iops of a shard's volume must be <= ${carried.atMost}, which ${name} carries, got ${this.iops}; ` +
          `lower iops, or set instanceType to ${typeFor(name, this.iops)}`,
      );
    }
    return this.iops > carried.always
      ? `${name} carries ${carried.always} operations a second all day, and the ${this.iops} of its volume for half an ` +
          `hour a day; ${typeFor(name, this.iops)} carries them always`
      : undefined;
  }
}

function typeFor(name: string, iops: number): string {
  const [size] = Object.entries(CARRIED).find(([, { always }]) => always >= iops) ?? [];
  return size ? `${name.split('.')[0]}.${size}` : 'one that does';
}

function checkSize(type: string, least: number, size: Size): Size {
  if (!size.isUnresolved()) {
    const gibibytes = size.toGibibytes({ rounding: SizeRoundingBehavior.NONE });
    if (!Number.isInteger(gibibytes) || gibibytes < least || gibibytes > SIZE_MAX) {
      throw new Error(
        `size of ${type} volumes must be whole GiB from ${least} to ${SIZE_MAX}, got ${gibibytes} GiB; ` +
          'choose a size in between, or more shards',
      );
    }
  }
  return size;
}

function checkIops(type: string, size: Size, iops: number, least: number, most: number, perGib: number): number {
  checkRange(`iops of ${type} volumes`, iops, least, most, 'operations a second');
  if (!size.isUnresolved() && !Token.isUnresolved(iops) && iops > perGib * size.toGibibytes()) {
    throw new Error(
      `iops of ${type} volumes must be <= ${perGib} for each GiB (${perGib * size.toGibibytes()}), got ${iops}; ` +
        `raise size to ${Math.ceil(iops / perGib)} GiB`,
    );
  }
  return iops;
}

function checkRange(name: string, value: number, least: number, most: number, unit: string): void {
  if (!Token.isUnresolved(value) && (!Number.isInteger(value) || value < least || value > most)) {
    throw new Error(`${name} must be a whole number from ${least} to ${most} ${unit}, got ${value}; change it`);
  }
}

function bothKnown(one: number, other: number): boolean {
  return !Token.isUnresolved(one) && !Token.isUnresolved(other);
}
