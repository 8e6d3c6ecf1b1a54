export * from './aurora-directory';
export * from './file-directory';
export * from './mail-directory';
export * from './sign-in-pool';
export * from './single-sign-on';
