import { Duration, Token } from 'aws-cdk-lib';

/** What a number may be. */
export interface WholeNumbers {
  readonly min: number;
  /** @default - no bound */
  readonly max?: number;
  /** Such as `minutes`. */
  readonly unit: string;
}

/**
 * Checks a number of whole units.
 *
 * @param name of the prop that it comes from
 * @throws when it is a part of one, or out of bounds; numbers that are not known at synthesis pass
 */
export function checkWhole(name: string, value: number, { min, max = Infinity, unit }: WholeNumbers): void {
  if (Token.isUnresolved(value) || (Number.isInteger(value) && value >= min && value <= max)) {
    return;
  }
  throw new Error(
    max === Infinity
      ? `${name} must be whole ${unit}, ${min} or more, got ${value}; raise ${name}`
      : `${name} must be ${min} to ${max} whole ${unit}, got ${value}`,
  );
}

/**
 * Checks a time of whole days.
 *
 * @throws as `checkWhole`
 */
export function checkWholeDays(name: string, time: Duration, min: number, max?: number): void {
  checkWhole(name, time.toDays({ integral: false }), { min, max, unit: 'days' });
}
