export * from './mail-key';
