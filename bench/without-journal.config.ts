import { type MailConfig } from '../bin/mail-config';
import config from './mail.config';

/** For benches of something else: moto takes more of the machine for an object of the journal than a node for the message. */
const withoutJournal: MailConfig = { ...config, journal: false };

export default withoutJournal;
