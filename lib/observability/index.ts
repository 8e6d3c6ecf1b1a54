export * from './alarm-topic';
export * from './mail-alarms';
