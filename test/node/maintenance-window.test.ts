import { spawnSync } from 'node:child_process';
import { MaintenanceWindow } from '../../lib/node';

test.each([
  [MaintenanceWindow.daily('02:00'), '*-*-* 02:00 UTC'],
  [MaintenanceWindow.daily('23:59', 'Europe/Berlin'), '*-*-* 23:59 Europe/Berlin'],
  // Intl answers Asia/Calcutta for it, which Debian has no more.
  [MaintenanceWindow.daily('00:30', 'Asia/Kolkata'), '*-*-* 00:30 Asia/Kolkata'],
  [MaintenanceWindow.daily('03:15', 'America/Argentina/Buenos_Aires'), '*-*-* 03:15 America/Argentina/Buenos_Aires'],
  [MaintenanceWindow.daily('04:00', 'America/Port-au-Prince'), '*-*-* 04:00 America/Port-au-Prince'],
])('%# is %s for systemd', (window, calendar) => {
  expect(window.calendar).toBe(calendar);
});

const systemd = spawnSync('systemd-analyze', ['--version']).error === undefined;
(systemd ? test : test.skip)('systemd reads it', () => {
  const { status } = spawnSync('systemd-analyze', ['calendar', MaintenanceWindow.daily('02:00').calendar]);
  expect(status).toBe(0);
});

test.each(['25:00', '24:00', '2:00', '02:60', '0200', '02:00:00', ''])('fails when the start is "%s"', (start) => {
  expect(() => MaintenanceWindow.daily(start)).toThrow(
    `start must be a time from 00:00 to 23:59, got "${start}"; write it as 02:00`,
  );
});

test.each([
  'Berlin',
  'Europe/Nowhere',
  'europe/berlin',
  'Europe/berlin',
  'CET',
  '+02:00',
  'US/Eastern',
  'Europe/Kiev',
  '',
])('fails when the time zone is "%s"', (timeZone) => {
  expect(() => MaintenanceWindow.daily('02:00', timeZone)).toThrow(
    `timeZone must be UTC or a current IANA name such as Europe/Berlin, got "${timeZone}"; look it up`,
  );
});
