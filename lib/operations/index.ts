export * from './directory-tunnel';
export * from './identity-center-principal';
export * from './mail-operators';
export * from './node-sessions';
export * from './restore-access';
