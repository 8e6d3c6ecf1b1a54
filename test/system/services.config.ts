import { type MailConfig } from '../../bin/mail-config';
import local from '../../local/mail.config';

/**
 * The local cluster with an identity provider (sign-in.suite.ts), the login of restore-access.suite.ts, a list (block-lists.suite.ts), mail from
 * SES (inbound.suite.ts), and users who share folders.
 */
const config: MailConfig = {
  ...local,
  inbound: 'ses',
  senderRewriting: true,
  sharedFolders: true,
  singleSignOn: { issuer: 'https://login.example.com', clientId: 'mail-clients' },
  restoreAccess: { sources: ['198.51.100.0/28'] },
  blockLists: { lists: [{ name: 'strangers', url: 'https://lists.example.com/strangers.txt' }] },
  allow: { managesieve: { cidrs: ['198.51.100.0/24'] } },
};

export default config;
