import {
  ConfigError,
  fail,
  integer,
  isBoolean,
  isString,
  listOf,
  matches,
  oneOf,
  optional,
  record,
} from './config-checks';

/** Names of the services. */
export const SERVICES: string[] = ['imaps', 'submission', 'submissions', 'pop3s', 'mx', 'managesieve'];

/** A key of KMS. */
export const KEY_ARN = matches(/^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key\/[A-Za-z0-9-]+$/, 'the ARN of a key');

/** A region of AWS. */
export const REGION = matches(/^[a-z]{2}(-[a-z]+)+-[0-9]$/, 'a region such as eu-central-1');

/** Who may reach which service. */
export function checkAllow(field: string, value: unknown): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    fail(field, 'an object of services', value);
  }
  for (const [service, source] of Object.entries(value as { [service: string]: unknown })) {
    oneOf(SERVICES)(`${field}, service name,`, service);
    const where = `${field}.${service}`;
    if (source === undefined || source === 'anywhere') {
      continue;
    }
    const [kind, ...more] = Object.keys(Object(source));
    if (more.length > 0 || (kind !== 'cidrs' && kind !== 'prefixList')) {
      fail(where, `'anywhere', { cidrs: [...] } or { prefixList: 'pl-...' }`, source);
    }
    if (kind === 'cidrs') {
      listOf(matches(/^[0-9a-f.:]+\/[0-9]+$/i, 'an address range such as 192.0.2.0/24'))(
        `${where}.cidrs`,
        (source as { cidrs: unknown }).cidrs,
      );
    } else {
      matches(/^pl-[0-9a-f]{8,17}$/, 'an id such as pl-0123456789abcdef0')(
        `${where}.prefixList`,
        (source as { prefixList: unknown }).prefixList,
      );
    }
  }
}

/** Where nodes get their certificate from. */
export function checkNodeCertificate(field: string, value: unknown): void {
  if (typeof value === 'object' && value !== null) {
    record({ secretArn: matches(/^arn:[a-z-]+:secretsmanager:/, 'the ARN of a secret') })(field, value);
  } else {
    oneOf(['acm-acme', 'dns-01', 'local-ca'])(field, value);
  }
}

/** Where people sign in; the constructs look at the values. */
export function checkSingleSignOn(field: string, value: unknown): void {
  if (typeof value === 'object' && value !== null) {
    record({
      issuer: isString,
      clientId: isString,
      audience: optional(isString),
      mailboxClaim: optional(isString),
      requiredScope: optional(isString),
      authorizationUrl: optional(isString),
      tokenUrl: optional(isString),
    })(field, value);
  } else {
    oneOf(['cognito'])(field, value);
  }
}

/** Whether, and how, mail is filtered. */
export function checkFiltering(field: string, value: unknown): void {
  if (typeof value === 'boolean') {
    return;
  }
  const score = optional((name, given) => {
    if (typeof given !== 'number' || !(given > 0 && given <= 100)) {
      fail(name, 'a number above 0 and <= 100', given);
    }
  });
  record({
    duringOutage: optional(oneOf(['accept', 'defer'])),
    greylisting: optional(isBoolean),
    virusScan: optional(isBoolean),
    junkScore: score,
    rejectScore: score,
  })(field, value);
}

/** Whether, and how, mail is journaled. */
export function checkJournal(field: string, value: unknown): void {
  if (typeof value !== 'boolean') {
    record({ sealed: optional(isBoolean) })(field, value);
  }
}

/** Whether, and which, networks are refused; the constructs look at the values. */
export function checkBlockLists(field: string, value: unknown): void {
  if (typeof value === 'boolean') {
    return;
  }
  const list = (name: string, given: unknown) => {
    if (typeof given !== 'object' || given === null) {
      oneOf(['tor-exits', 'spamhaus-drop'])(name, given);
    } else if ('networks' in given) {
      record({ name: isString, networks: listOf(isString) })(name, given);
    } else {
      record({ name: isString, url: isString, networksMin: optional(integer(1, 50_000)) })(name, given);
    }
  };
  record({
    lists: optional(listOf(list)),
    services: optional(listOf(oneOf(SERVICES))),
    refreshHours: optional(integer(1, 12)),
    staleHours: optional(integer(2, 168)),
    growthMax: optional(integer(1, 1000)),
  })(field, value);
}
/** Whether, and how, traffic is inspected; the construct looks at the rules. */
export function checkNetworkFirewall(field: string, value: unknown): void {
  if (typeof value === 'boolean') {
    return;
  }
  record({
    alertOnly: optional(isBoolean),
    rules: optional(isString),
    ruleGroupArns: optional(listOf(matches(/^arn:[a-z-]+:network-firewall:/, 'the ARN of a rule group'))),
    deletionProtection: optional(isBoolean),
  })(field, value);
}

/** Who has which role. */
export function checkOperators(field: string, value: unknown): void {
  const people = optional(
    listOf(
      matches(
        /^(arn:[a-z-]+:iam::[0-9]{12}:user\/.+|permissionSet:[A-Za-z0-9+=,.@_-]{1,32})$/,
        'the ARN of an IAM user, or permissionSet:Name',
      ),
    ),
  );
  record({
    operators: people,
    auditors: people,
    helpDesk: people,
    sessionHours: optional(integer(1, 12)),
    erasure: optional(isBoolean),
    restore: optional(isBoolean),
  })(field, value);
  const { operators, auditors, helpDesk } = value as { [role: string]: unknown };
  if (!operators && !auditors && !helpDesk) {
    throw new ConfigError(`${field} must name somebody: operators, auditors or helpDesk`);
  }
}
