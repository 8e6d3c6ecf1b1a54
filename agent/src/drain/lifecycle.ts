import {
  AutoScalingClient,
  CompleteLifecycleActionCommand,
  DescribeAutoScalingInstancesCommand,
  RecordLifecycleActionHeartbeatCommand,
} from '@aws-sdk/client-auto-scaling';

/** Where the instance stands at its terminating lifecycle hook. */
export type LifecyclePhase =
  /** Auto Scaling hasn't reached the hook: balancers let go of the instance first. */
  | 'before'
  /** Auto Scaling waits for our answer. */
  | 'waiting'
  /** Nothing waits: answered, timed out, or not in a group. */
  | 'over';

export interface LifecycleOptions {
  readonly client: AutoScalingClient;
  readonly hook: string;
  readonly instanceId: () => Promise<string>;
}

/** The Auto Scaling group's terminating lifecycle hook, seen from the instance that ends. */
export class Lifecycle {
  private group?: string;

  public constructor(private readonly options: LifecycleOptions) {}

  /** Asks Auto Scaling where the instance stands. */
  public async phase(): Promise<LifecyclePhase> {
    const { AutoScalingInstances: [instance] = [] } = await this.options.client.send(
      new DescribeAutoScalingInstancesCommand({ InstanceIds: [await this.options.instanceId()] }),
    );
    this.group = instance?.AutoScalingGroupName;
    const state = instance?.LifecycleState ?? '';
    if (state === 'Terminating:Wait') return 'waiting';
    // The metadata turns to `Terminated` as soon as the decision is made, while this state may still be InService.
    return !instance || state === 'Terminating:Proceed' || state === 'Terminated' ? 'over' : 'before';
  }

  /** Starts the hook's time-out anew. */
  public async heartbeat(): Promise<void> {
    await this.options.client.send(new RecordLifecycleActionHeartbeatCommand(await this.action()));
  }

  /** Lets Auto Scaling terminate the instance. */
  public async complete(): Promise<void> {
    const action = await this.action();
    await this.options.client.send(
      // CONTINUE and ABANDON both terminate; CONTINUE also lets the group's other hooks run.
      new CompleteLifecycleActionCommand({ ...action, LifecycleActionResult: 'CONTINUE' }),
    );
  }

  private async action() {
    if (!this.group) await this.phase();
    return {
      AutoScalingGroupName: this.group,
      LifecycleHookName: this.options.hook,
      InstanceId: await this.options.instanceId(),
    };
  }
}
