import { MailConfig } from './bin/mail-config';

/** What `cdk deploy MailStack` deploys. Every field is described at its type, MailConfig. */
const config: MailConfig = {
  domain: 'example.com',
};

export default config;
