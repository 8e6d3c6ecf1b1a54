export * from './access-source';
export * from './block-list';
export * from './connection-limits';
export * from './mail-access';
export * from './mail-allowlist';
export * from './mail-block-lists';
export * from './mail-service';
