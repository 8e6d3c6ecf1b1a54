import { type MailConfig } from '../bin/mail-config';
import config from './without-journal.config';

/** Users in a database. */
const withDatabase: MailConfig = { ...config, directory: 'aurora' };

export default withDatabase;
