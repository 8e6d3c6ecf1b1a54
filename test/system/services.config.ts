import { type MailConfig } from '../../bin/mail-config';
import local from '../../local/mail.config';

/** The local cluster with an identity provider, which sign-in.suite.ts runs, and users who share folders. */
const config: MailConfig = {
  ...local,
  sharedFolders: true,
  singleSignOn: { issuer: 'https://login.example.com', clientId: 'mail-clients' },
};

export default config;
