import { type MailConfig } from '../bin/mail-config';
import config from './mail.config';

/** The local cluster with its users in a database, and an identity provider. */
const withDatabase: MailConfig = {
  ...config,
  journal: false,
  directory: 'aurora',
  singleSignOn: { issuer: 'https://login.example.com', clientId: 'mail-clients' },
};

export default withDatabase;
