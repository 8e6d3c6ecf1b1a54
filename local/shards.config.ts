import { type MailConfig } from '../bin/mail-config';
import config from './mail.config';

/** The local cluster with its mail on shards. */
const sharded: MailConfig = { ...config, mailboxFormat: 'sdbox', shards: { oldMailDays: 30 } };

export default sharded;
