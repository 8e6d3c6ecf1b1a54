export * from './alarm-thresholds';
export * from './alarm-topic';
export * from './mail-alarms';
