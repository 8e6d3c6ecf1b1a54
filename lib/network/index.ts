export * from './mail-firewall';
export * from './mail-network';
