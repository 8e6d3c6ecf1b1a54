import { readFileSync } from 'node:fs';
import { type MailConfig } from '../../bin/mail-config';
import local from '../../local/mail.config';

/**
 * The local cluster, whose users need certificates by the authority that certificates.test.ts made, and that are not on its list; beside passwords
 * there are tokens of a provider.
 */
const config: MailConfig = {
  ...local,
  journal: false,
  implicitTls: 'node',
  clientCertificates: { authorities: readFileSync(process.env.CLIENT_AUTHORITIES!, 'utf8'), revocationLists: true },
  singleSignOn: { issuer: 'https://login.example.com', clientId: 'mail-clients' },
};

export default config;
