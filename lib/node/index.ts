export { METRIC_NAMESPACE } from './fleet-metrics';
export * from './lease-table';
export * from './mail-bundle';
export * from './mail-fleet';
export * from './node-configuration';
export * from './node-role';
export * from './node-secret';
export * from './node-template';
export * from './sizing';
