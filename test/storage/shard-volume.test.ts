import { Size } from 'aws-cdk-lib';
import { InstanceType } from 'aws-cdk-lib/aws-ec2';
import { ShardVolume } from '../../lib/storage';

test('a gp3 volume is 500 GiB with what gp3 includes', () => {
  const { type, size, iops, throughput } = ShardVolume.gp3();
  expect([type, size.toGibibytes(), iops, throughput]).toEqual(['gp3', 500, 3000, 125]);
});

test.each([
  ['gp3', () => ShardVolume.gp3({ iops: 50_000, throughput: 2000 })],
  ['io2', () => ShardVolume.io2({ size: Size.gibibytes(50), iops: 50_000 })],
])('50 000 operations a second are within reach of %s', (_type, make) => {
  expect(make().iops).toBe(50_000);
});

test('io2 goes to 256 000', () => {
  expect(ShardVolume.io2({ size: Size.tebibytes(64), iops: 256_000 }).size.toTebibytes()).toBe(64);
});

test.each<[string, () => ShardVolume, string]>([
  ['gp3 has too few operations', () => ShardVolume.gp3({ iops: 2999 }), 'from 3000 to 80000 operations a second'],
  ['gp3 has too many', () => ShardVolume.gp3({ size: Size.tebibytes(1), iops: 80_001 }), 'got 80001'],
  [
    'gp3 is too small for its operations',
    () => ShardVolume.gp3({ size: Size.gibibytes(20), iops: 16_000 }),
    'iops of gp3 volumes must be <= 500 for each GiB (10000), got 16000; raise size to 32 GiB',
  ],
  ['gp3 is too fast', () => ShardVolume.gp3({ throughput: 2001 }), 'from 125 to 2000 MiB a second, got 2001'],
  [
    'gp3 has too few operations for its throughput',
    () => ShardVolume.gp3({ throughput: 1000 }),
    'must be <= a quarter of its iops (750 MiB a second), got 1000; raise iops to 4000',
  ],
  ['gp3 has a fraction', () => ShardVolume.gp3({ iops: 3000.5 }), 'must be a whole number'],
  [
    'the size has a fraction',
    () => ShardVolume.gp3({ size: Size.mebibytes(1500) }),
    'must be whole GiB from 1 to 65536',
  ],
  [
    'gp3 is too large',
    () => ShardVolume.gp3({ size: Size.tebibytes(65) }),
    'got 66560 GiB; choose a size in between, or',
  ],
  [
    'io2 is too small for its operations',
    () => ShardVolume.io2({ size: Size.gibibytes(49), iops: 50_000 }),
    'iops of io2 volumes must be <= 1000 for each GiB (49000), got 50000; raise size to 50 GiB',
  ],
  ['io2 is too small', () => ShardVolume.io2({ size: Size.gibibytes(3), iops: 100 }), 'whole GiB from 4 to 65536'],
  [
    'io2 has too many operations',
    () => ShardVolume.io2({ size: Size.tebibytes(1), iops: 256_001 }),
    'from 100 to 256000',
  ],
])('fails when %s', (_name, make, message) => {
  expect(make).toThrow(message);
});

describe('on nodes', () => {
  const volume = ShardVolume.io2({ size: Size.gibibytes(100), iops: 50_000 });
  const on = (type: string) => volume.shortcomingOn(new InstanceType(type));

  test('that carry it always nothing is said', () => {
    expect(on('m7g.12xlarge')).toBeUndefined();
    expect(ShardVolume.gp3().shortcomingOn(new InstanceType('m7g.large'))).toBeUndefined();
  });

  test('of which nothing is known nothing is said', () => {
    expect(on('m9z.large')).toBeUndefined();
  });

  test('that carry it for half an hour a day is said which do better', () => {
    expect(ShardVolume.gp3({ iops: 10_000 }).shortcomingOn(new InstanceType('r7g.large'))).toBe(
      'r7g.large carries 3600 operations a second all day, and the 10000 of its volume for half an hour a day; ' +
        'r7g.2xlarge carries them always',
    );
  });

  test('fails when they never carry it', () => {
    expect(() => on('m7g.large')).toThrow(
      "iops of a shard's volume must be <= 40000, which m7g.large carries, got 50000; lower iops, or set instanceType to m7g.12xlarge",
    );
  });
});
