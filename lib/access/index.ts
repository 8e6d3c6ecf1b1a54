export * from './access-source';
export * from './connection-limits';
export * from './mail-access';
export * from './mail-allowlist';
export * from './mail-service';
