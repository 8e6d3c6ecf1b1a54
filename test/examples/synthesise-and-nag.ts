/** Run in an example's folder: synthesises its app and fails on a finding of the four rule packs in its MailStack. */
import * as path from 'node:path';
import { type App, Stack, Validations } from 'aws-cdk-lib';
import { AwsSolutionsChecks, HIPAASecurityChecks, NIST80053R5Checks, PCIDSS321Checks } from 'cdk-nag';

void import(path.join(process.cwd(), 'app')).then(({ app }: { app: App }) => {
  const mail = app.node.findChild('MailStack') as Stack;
  Validations.of(mail).addPlugins(
    new AwsSolutionsChecks(mail),
    new NIST80053R5Checks(mail),
    new HIPAASecurityChecks(mail),
    new PCIDSS321Checks(mail),
  );
  app.synth();
});
