export { METRIC_NAMESPACE } from './fleet-metrics';
export * from './fleet-options';
export * from './lease-table';
export * from './mail-bundle';
export * from './mail-fleet';
export * from './maintenance-window';
export * from './node-configuration';
export { DRAIN_HOOK } from './node-group';
export * from './node-role';
export * from './node-secret';
export * from './node-template';
export {
  CONNECTIONS_PER_GIB,
  CONNECTIONS_PER_NODE_MAX,
  CONNECTIONS_PER_VCPU,
  connectionsPerNode,
  type Machine,
  machineOf,
} from './sizing';
