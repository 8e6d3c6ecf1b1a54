import { InstanceMetadata } from '../node/instance-metadata';

/** EC2's or Auto Scaling's word that this node will end. */
export interface Notice {
  /** For the log. */
  readonly reason: string;
  /** Whether Auto Scaling ends the instance and waits at its lifecycle hook. */
  readonly lifecycle: boolean;
  /** When the instance ends whatever we do, in milliseconds since 1970. */
  readonly endsAt?: number;
}

/**
 * What the instance metadata says about this node's end, or undefined when it says nothing.
 *
 * A scaling group's decision comes first: it is the only one that waits for our answer.
 * @see https://docs.aws.amazon.com/autoscaling/ec2/userguide/retrieving-target-lifecycle-state-through-imds.html
 * @see https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
 */
export const readNotice = async (metadata: InstanceMetadata): Promise<Notice | undefined> => {
  const [target, spotAction, rebalance] = await Promise.all([
    metadata.get('autoscaling/target-lifecycle-state'),
    metadata.get('spot/instance-action'),
    metadata.get('events/recommendations/rebalance'),
  ]);
  const spot = spotAction === undefined ? undefined : parseSpotAction(spotAction);
  if (target === 'Terminated')
    return { reason: 'Auto Scaling ends the instance', lifecycle: true, endsAt: spot?.endsAt };
  if (spot) return spot;
  if (rebalance !== undefined) return { reason: 'EC2 recommends to rebalance a Spot instance', lifecycle: false };
  return undefined;
};

// {"action": "terminate", "time": "2026-09-18T08:22:00Z"}
const parseSpotAction = (text: string): Notice => {
  const { action, time } = JSON.parse(text);
  const endsAt = Date.parse(time);
  return {
    reason: `Spot interruption: ${action} at ${time}`,
    lifecycle: false,
    ...(Number.isFinite(endsAt) && { endsAt }),
  };
};
