import { type MailConfig } from '../../bin/mail-config';
import local from '../../local/mail.config';

/** The local cluster with an identity provider, which sign-in.suite.ts runs, the login of restore-access.suite.ts, and a list, which block-lists.suite.ts serves. */
const config: MailConfig = {
  ...local,
  singleSignOn: { issuer: 'https://login.example.com', clientId: 'mail-clients' },
  restoreAccess: { sources: ['198.51.100.0/28'] },
  blockLists: { lists: [{ name: 'strangers', url: 'https://lists.example.com/strangers.txt' }] },
  allow: { managesieve: { cidrs: ['198.51.100.0/24'] } },
};

export default config;
