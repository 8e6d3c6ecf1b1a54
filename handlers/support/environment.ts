/** @throws Error when the variable is missing or empty */
export function text(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is missing in the environment`);
  return value;
}

/** @throws Error when the variable is no whole number of at least `least` */
export function wholeNumber(name: string, least = 0): number {
  const value = Number(text(name));
  if (!Number.isInteger(value) || value < least) {
    throw new Error(`${name} must be a whole number of at least ${least}, got ${text(name)}`);
  }
  return value;
}
