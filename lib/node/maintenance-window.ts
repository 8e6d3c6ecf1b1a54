import { isTimeZone } from '../private/time-zone';

/**
 * When nodes tend the mailboxes of their users: expired mail of Trash and Junk goes, full-text indexes are completed and
 * optimised. Each node begins up to 15 minutes later, so that not all load the store at once.
 */
export class MaintenanceWindow {
  /**
   * Once a day.
   *
   * @param start hours and minutes, `00:00` to `23:59`
   * @param timeZone IANA name such as `Europe/Berlin`, or `UTC`
   * @throws when either is none
   */
  public static daily(start: string, timeZone = 'UTC'): MaintenanceWindow {
    if (!/^([01][0-9]|2[0-3]):[0-5][0-9]$/.test(start)) {
      throw new Error(`start must be a time from 00:00 to 23:59, got ${JSON.stringify(start)}; write it as 02:00`);
    }
    if (!isTimeZone(timeZone)) {
      throw new Error(
        `timeZone must be UTC or a current IANA name such as Europe/Berlin, got ${JSON.stringify(timeZone)}; ` +
          'look it up in https://data.iana.org/time-zones/tzdb/zone1970.tab',
      );
    }
    return new MaintenanceWindow(`*-*-* ${start} ${timeZone}`);
  }

  private constructor(
    /** As systemd.time(7) writes it. */
    public readonly calendar: string,
  ) {}
}
