import { type MailConfig } from '../bin/mail-config';

/** What `npm start` runs: every service, and only what a machine without an AWS account needs otherwise. */
const config: MailConfig = {
  domain: 'example.com',
  services: ['imaps', 'submission', 'submissions', 'pop3s', 'mx', 'managesieve'],
  journal: true,
  // No public certificate authority vouches for example.com.
  nodeCertificate: 'local-ca',
  // Its agent comes from a bucket of AWS, and there is no Systems Manager to talk to.
  sessionManager: false,
};

export default config;
