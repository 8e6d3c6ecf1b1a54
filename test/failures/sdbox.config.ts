import { type MailConfig } from '../../bin/mail-config';
import local from '../../local/mail.config';

/** The local cluster with mailboxes in Dovecot's own format. */
const config: MailConfig = { ...local, mailboxFormat: 'sdbox' };

export default config;
