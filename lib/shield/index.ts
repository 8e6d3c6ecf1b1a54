export * from './mail-shield';
