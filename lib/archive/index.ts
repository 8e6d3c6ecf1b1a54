export * from './access-log-bucket';
export * from './archive-lock';
export * from './evidence-chain';
export * from './mail-archive';
