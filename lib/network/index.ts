export * from './mail-network';
