import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { Authority } from '../support/authority';
import { clientCertificatesSuite } from './client-certificates.suite';
import { useSystem } from './system';

const authority = new Authority('Company mail clients');
const folder = mkdtempSync(path.join(tmpdir(), 'authorities-'));
process.env.CLIENT_AUTHORITIES = path.join(folder, 'client-ca.pem');
writeFileSync(process.env.CLIENT_AUTHORITIES, authority.pem);
afterAll(() => rmSync(folder, { recursive: true }));

/** A cluster of its own, which nobody gets into without a certificate. */
const system = useSystem(path.join(__dirname, 'certificates.config.ts'));

describe('client certificates', () => clientCertificatesSuite(system, authority));
