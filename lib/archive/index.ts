export * from './access-log-bucket';
export * from './archive-copy';
export * from './archive-lock';
export * from './archive-replication';
export * from './evidence-chain';
export * from './journal-packs';
export * from './mail-archive';
export * from './mail-journal';
