export * from './active-receipt-rule-set';
