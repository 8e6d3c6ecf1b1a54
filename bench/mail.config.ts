import { type MailConfig } from '../bin/mail-config';

/** What benches synthesise. `MAIL_BENCH_CONNECTIONS` is the size of a node in client connections. */
const config: MailConfig = {
  domain: 'example.com',
  services: ['imaps', 'submission', 'mx'],
  nodeCertificate: 'local-ca',
  connectionsPerNode: Number(process.env.MAIL_BENCH_CONNECTIONS ?? 2000),
};

export default config;
