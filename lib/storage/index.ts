export * from './backup-lock';
export * from './efs-mail-store';
export * from './mail-backup';
export * from './mail-storage';
export * from './mail-store';
export * from './mailbox-format';
