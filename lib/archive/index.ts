export * from './access-log-bucket';
export * from './archive-lock';
export * from './mail-archive';
