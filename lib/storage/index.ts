export * from './efs-mail-store';
export * from './mail-storage';
export * from './mail-store';
export * from './mailbox-format';
