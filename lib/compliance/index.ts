export * from './acknowledge';
