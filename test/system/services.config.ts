import { type MailConfig } from '../../bin/mail-config';
import local from '../../local/mail.config';

/** The local cluster with an identity provider, which sign-in.suite.ts runs, and the login of restore-access.suite.ts. */
const config: MailConfig = {
  ...local,
  singleSignOn: { issuer: 'https://login.example.com', clientId: 'mail-clients' },
  restoreAccess: { sources: ['198.51.100.0/28'] },
};

export default config;
