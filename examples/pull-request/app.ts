import { App, Validations } from 'aws-cdk-lib';
import { AwsSolutionsChecks, NIST80053R5Checks } from 'cdk-nag';
import { companyMail } from './company-mail';

export const app = new App();

companyMail(app);

// A finding fails `cdk synth`, and with it the pull request.
Validations.of(app).addPlugins(new AwsSolutionsChecks(app), new NIST80053R5Checks(app));
