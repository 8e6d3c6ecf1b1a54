export * from './file-directory';
export * from './mail-directory';
