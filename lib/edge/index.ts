export * from './mail-accelerator';
export * from './edge-tls';
export * from './mail-edge';
