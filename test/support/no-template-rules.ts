// CloudFormation's own rules take seconds for each app; test/mail-stack.test.ts turns them on for whole stacks.
process.env.CDK_VALIDATION ??= 'false';
