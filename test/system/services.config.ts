import { type MailConfig } from '../../bin/mail-config';
import local from '../../local/mail.config';

/** The local cluster with an identity provider, which sign-in.suite.ts runs, and with mail from SES (inbound.suite.ts). */
const config: MailConfig = {
  ...local,
  inbound: 'ses',
  senderRewriting: true,
  singleSignOn: { issuer: 'https://login.example.com', clientId: 'mail-clients' },
};

export default config;
