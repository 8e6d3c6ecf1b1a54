import { AccessSource, MailService, MailStack } from 'cdk-mail-platform';
import { Construct } from 'constructs';

/** The company's mail system, as it is deployed and as the test sees it. */
export function companyMail(scope: Construct): MailStack {
  return new MailStack(scope, 'MailStack', {
    domain: 'example.com',
    services: [MailService.IMAPS, MailService.SUBMISSION, MailService.MX],
    allow: { submission: AccessSource.cidrs(['198.51.100.0/24']) },
  });
}
