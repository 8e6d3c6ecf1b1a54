export * from './acme-account-binding';
export * from './client-certificates';
export * from './edge-certificate';
export * from './node-certificate';
