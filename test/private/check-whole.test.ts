import { CfnParameter, Duration } from 'aws-cdk-lib';
import { checkWhole, checkWholeDays } from '../../lib/private/check-whole';
import { testStack } from '../support/apps';

test.each([1, 5, 10])('%d is a whole number from 1 to 10', (value) => {
  expect(() => checkWhole('it', value, { min: 1, max: 10, unit: 'minutes' })).not.toThrow();
});

test.each([0, 11, 2.5, NaN, Infinity])('fails when it is %d', (value) => {
  expect(() => checkWhole('it', value, { min: 1, max: 10, unit: 'minutes' })).toThrow(
    `it must be 1 to 10 whole minutes, got ${value}`,
  );
});

test('fails when a time is no whole number of days, or too short', () => {
  expect(() => checkWholeDays('it', Duration.hours(36), 1)).toThrow(
    'it must be whole days, 1 or more, got 1.5; raise it',
  );
  expect(() => checkWholeDays('it', Duration.days(1), 2, 9)).toThrow('it must be 2 to 9 whole days, got 1');
});

test('what is not known before the deployment passes', () => {
  const days = new CfnParameter(testStack(), 'Days', { type: 'Number' }).valueAsNumber;
  expect(() => checkWhole('it', days, { min: 1, unit: 'days' })).not.toThrow();
  expect(() => checkWholeDays('it', Duration.days(days), 1)).not.toThrow();
});
