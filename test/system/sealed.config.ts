import { type MailConfig } from '../../bin/mail-config';
import local from '../../local/mail.config';

/** The local cluster with a journal that nobody can delete from, and whose mail can be erased nevertheless. */
const config: MailConfig = {
  ...local,
  journal: { sealed: true },
  archiveLock: { mode: 'compliance', days: 180 },
  retention: ['gdpr'],
};

export default config;
