import { type MailConfig } from '../bin/mail-config';
import config from './mail.config';

/** The local cluster with its mail on shards. */
const sharded: MailConfig = { ...config, shards: {} };

export default sharded;
