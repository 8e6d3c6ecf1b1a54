const common = {
  transform: { '^.+\\.ts$': ['ts-jest', { diagnostics: false }] }, // `npm run lint` checks the types
  testEnvironment: 'node',
  modulePathIgnorePatterns: ['<rootDir>/.cache/'], // root file systems of nodes
};

module.exports = {
  testTimeout: 30_000, // how long something may take is said by the test itself
  maxWorkers: '100%', // the tests are what the machine is for; jest would leave a processor free
  projects: [
    {
      ...common,
      displayName: 'unit',
      testMatch: ['<rootDir>/test/**/*.test.ts'],
      testPathIgnorePatterns: [
        '/node_modules/',
        '<rootDir>/test/system/',
        '<rootDir>/test/boot/',
        '<rootDir>/test/examples/',
        '<rootDir>/test/failures/',
      ],
      setupFiles: ['<rootDir>/test/support/no-template-rules.ts'],
      setupFilesAfterEnv: ['aws-cdk-lib/testhelpers/jest-autoclean'],
    },
    { ...common, displayName: 'agent', testMatch: ['<rootDir>/agent/test/**/*.test.ts'] },
    { ...common, displayName: 'local', testMatch: ['<rootDir>/local/test/**/*.test.ts'] },
    { ...common, displayName: 'examples', testMatch: ['<rootDir>/test/examples/**/*.test.ts'] },
    // Real nodes; these need the sandbox: `npm run test:system`, `npm run test:services`, `npm run test:volumes`, `npm run test:directory`, …
    { ...common, displayName: 'system', testMatch: ['<rootDir>/test/system/system.test.ts'] },
    { ...common, displayName: 'services', testMatch: ['<rootDir>/test/system/services.test.ts'] },
    { ...common, displayName: 'volumes', testMatch: ['<rootDir>/test/system/volumes.test.ts'] },
    { ...common, displayName: 'directory', testMatch: ['<rootDir>/test/system/directory.test.ts'] },
    { ...common, displayName: 'sealed', testMatch: ['<rootDir>/test/system/sealed.test.ts'] },
    { ...common, displayName: 'certificates', testMatch: ['<rootDir>/test/system/certificates.test.ts'] },
    { ...common, displayName: 'failures', testMatch: ['<rootDir>/test/failures/**/*.test.ts'] },
    // Nodes with kernels of their own; needs the sandbox: `npm run test:boot`.
    { ...common, displayName: 'boot', testMatch: ['<rootDir>/test/boot/**/*.test.ts'] },
  ],
};
