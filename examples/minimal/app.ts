import { App } from 'aws-cdk-lib';
import { MailStack } from 'cdk-mail-platform';

export const app = new App();

new MailStack(app, 'MailStack', { domain: 'example.com' });
