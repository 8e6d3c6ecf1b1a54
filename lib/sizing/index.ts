export * from './monthly-cost';
export * from './node-limits';
export * from './size-for';
