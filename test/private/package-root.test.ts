import { existsSync } from 'node:fs';
import { packagePath } from '../../lib/private/package-root';

test('finds files of the package from the sources', () => {
  expect(existsSync(packagePath('package.json'))).toBe(true);
});

test('fails when a file is not built', () => {
  expect(() => packagePath('dist', 'handlers', 'no-such-handler')).toThrow(
    'dist/handlers/no-such-handler is not in the package; run npm run build',
  );
});
