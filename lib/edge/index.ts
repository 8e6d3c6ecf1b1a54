export * from './edge-tls';
export * from './mail-edge';
