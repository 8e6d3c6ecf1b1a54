import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['node_modules', '**/dist', '**/cdk.out', '.cache', 'coverage', 'assets/node/agent'] },
  ...tseslint.configs.recommended,
  {
    rules: {
      // Constructs are created for their effect on the tree.
      'no-new': 'off',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_' }],
      eqeqeq: 'error',
      'no-console': 'off',
    },
  },
);
