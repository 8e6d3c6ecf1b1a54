export * from './filter-outage';
export * from './mail-filtering';
