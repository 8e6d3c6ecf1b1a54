import { readFileSync } from 'node:fs';
import { type MailConfig } from '../../bin/mail-config';
import local from '../../local/mail.config';

/** The local cluster, whose users need certificates by the authority that certificates.test.ts made. */
const config: MailConfig = {
  ...local,
  journal: false,
  implicitTls: 'node',
  clientCertificates: { authorities: readFileSync(process.env.CLIENT_AUTHORITIES!, 'utf8') },
};

export default config;
