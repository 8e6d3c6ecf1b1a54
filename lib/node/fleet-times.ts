import { Duration } from 'aws-cdk-lib';
import { checkWhole } from '../private/check-whole';
import { FleetOptions } from './fleet-options';

/** Seconds that an instance refresh may watch the group at its end (EC2 Auto Scaling API, `RefreshPreferences`). */
const BAKE_TIME_MAX = 172_800;

/** Times of a fleet, settled. */
export interface FleetTimes {
  readonly bootTimeout: Duration;
  readonly pauseTime: Duration;
  readonly drainTimeout: Duration;
}

/**
 * The times that an owner chose, or those that fit.
 *
 * @param hasShards whether each shard has one node, without which its users have none
 * @throws when a time is out of its range, or the pause is shorter than a boot may take
 */
export function settleTimes(options: FleetOptions, hasShards: boolean): FleetTimes {
  const bootTimeout = options.bootTimeout ?? Duration.minutes(10);
  const pauseTime = options.pauseTime ?? Duration.minutes(15);
  // Earlier a node is replaced while it boots, and so is the next one.
  checkWhole('bootTimeout', bootTimeout.toSeconds({ integral: false }), { min: 60, max: 7200, unit: 'seconds' });
  if (pauseTime.toSeconds() < bootTimeout.toSeconds()) {
    throw new Error(
      `pauseTime must be >= bootTimeout (${bootTimeout.toSeconds()} s), got ${pauseTime.toSeconds()} s; raise pauseTime`,
    );
  }
  checkWhole('pauseTime', pauseTime.toSeconds(), { min: 60, max: BAKE_TIME_MAX, unit: 'seconds' });
  // While the node of a shard drains, nobody else can serve the shard's users.
  const drainTimeout = options.drainTimeout ?? (hasShards ? Duration.seconds(30) : Duration.minutes(5));
  const seconds = drainTimeout.toSeconds();
  // A hook lasts 7200 s at most, of which one minute is ours.
  if (seconds < 30 || seconds > 6900) {
    throw new Error(`drainTimeout must be 30 to 6900 seconds, got ${seconds}; choose a time in between`);
  }
  return { bootTimeout, pauseTime, drainTimeout };
}
