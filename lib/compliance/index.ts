export * from './acknowledge';
export * from './retention-profile';
