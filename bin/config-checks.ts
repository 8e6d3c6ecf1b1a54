/** A bad value in the configuration; its message is one line that begins with the field. */
export class ConfigError extends Error {}

/** Throws a ConfigError that names the field when the value is not what it should be. */
export type Check = (field: string, value: unknown) => void;

export function matches(pattern: RegExp, expected: string): Check {
  return (field, value) => {
    if (typeof value !== 'string' || !pattern.test(value)) {
      fail(field, expected, value);
    }
  };
}

export function oneOf(values: string[]): Check {
  return (field, value) => {
    if (typeof value !== 'string' || !values.includes(value)) {
      fail(field, `one of ${values.join(', ')}`, value);
    }
  };
}

export function integer(min: number, max: number): Check {
  return (field, value) => {
    if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
      fail(field, `a whole number from ${min} to ${max}`, value);
    }
  };
}

export function isBoolean(field: string, value: unknown): void {
  if (typeof value !== 'boolean') {
    fail(field, 'true or false', value);
  }
}

export function isString(field: string, value: unknown): void {
  if (typeof value !== 'string') {
    fail(field, 'a text in quotes', value);
  }
}

/** For a field of a record that may be left out. */
export function optional(check: Check): Check {
  return (field, value) => {
    if (value !== undefined) {
      check(field, value);
    }
  };
}

export function listOf(check: Check): Check {
  return (field, value) => {
    if (!Array.isArray(value) || value.length === 0) {
      fail(field, 'a list with at least one entry', value);
    }
    value.forEach((entry, index) => check(`${field}[${index}]`, entry));
    const twice = value.find((entry, index) => value.indexOf(entry) !== index);
    if (twice !== undefined) {
      throw new ConfigError(`${field} has ${JSON.stringify(twice)} twice; remove one`);
    }
  };
}

export function record(checks: { readonly [field: string]: Check }): Check {
  return (field, value) => {
    if (typeof value !== 'object' || value === null) {
      fail(field, `{ ${Object.keys(checks).join(', ')} }`, value);
    }
    const unknown = Object.keys(value as object).find((name) => !(name in checks));
    if (unknown !== undefined) {
      throw new ConfigError(`${field}.${unknown} is not a field; expected ${Object.keys(checks).join(', ')}`);
    }
    for (const [name, check] of Object.entries(checks)) {
      check(`${field}.${name}`, (value as { [name: string]: unknown })[name]);
    }
  };
}

export function fail(field: string, expected: string, value: unknown, change?: string): never {
  const got = value === undefined ? 'nothing' : JSON.stringify(value);
  throw new ConfigError(`${field} must be ${expected}, got ${got}${change ? `; ${change}` : ''}`);
}
