/** The middle of the values, or the mean of the two in the middle. */
export function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/** Rounded to that many significant digits, as a number. */
export function significant(value: number, digits = 3): number {
  return Number(value.toPrecision(digits));
}
