export * from './active-receipt-rule-set';
export * from './dns-record';
export * from './outbound-relay';
export * from './sending-events';
export * from './ses-relay';
export * from './smtp-credentials';
