import { readNotice } from '../../src/drain/notices';
import { InstanceMetadata } from '../../src/node/instance-metadata';
import { MetadataServer, metadataServer } from '../support/metadata-server';

let server: MetadataServer;
beforeEach(async () => void (server = await metadataServer({})));
afterEach(() => server.stop());

const SPOT = { 'spot/instance-action': '{"action": "terminate", "time": "2026-11-22T08:22:00Z"}' };
const REBALANCE = { 'events/recommendations/rebalance': '{"noticeTime": "2026-11-22T08:00:00Z"}' };

test.each([
  ['an instance outside of any group', {}, undefined],
  ['a group’s instance in service', { 'autoscaling/target-lifecycle-state': 'InService' }, undefined],
  ['one set to stand-by', { 'autoscaling/target-lifecycle-state': 'Standby' }, undefined],
  ['one that its group ends', { 'autoscaling/target-lifecycle-state': 'Terminated' }, { lifecycle: true }],
  ['an interrupted Spot instance', SPOT, { lifecycle: false, endsAt: Date.UTC(2026, 10, 22, 8, 22) }],
  ['a Spot instance at risk', REBALANCE, { lifecycle: false }],
  [
    'an interrupted Spot instance that its group ends',
    { ...SPOT, 'autoscaling/target-lifecycle-state': 'Terminated' },
    { lifecycle: true, endsAt: Date.UTC(2026, 10, 22, 8, 22) },
  ],
])('%s', async (_, values, expected) => {
  Object.assign(server.values, values);
  const notice = await readNotice(new InstanceMetadata(server.url));
  if (expected) expect(notice).toMatchObject(expected);
  else expect(notice).toBeUndefined();
});
