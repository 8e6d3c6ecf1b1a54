export * from './acme-account-binding';
export * from './edge-certificate';
export * from './node-certificate';
