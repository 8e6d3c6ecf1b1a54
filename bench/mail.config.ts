import { type MailConfig } from '../bin/mail-config';
import local from '../local/mail.config';

/** What benches synthesise. `MAIL_BENCH_CONNECTIONS` is the size of a node in client connections. */
const config: MailConfig = {
  ...local,
  services: ['imaps', 'submission', 'mx'],
  connectionsPerNode: Number(process.env.MAIL_BENCH_CONNECTIONS ?? 2000),
};

export default config;
