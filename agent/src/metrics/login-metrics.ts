import { StandardUnit } from '@aws-sdk/client-cloudwatch';
import { Collector } from './publisher';

const TIMEOUT = 5_000;

/** Dovecot's counters (assets/node/etc/dovecot/mail-platform.d/70-log.conf). */
const COUNTERS = ['auth_success', 'auth_failure', 'auth_put_off'] as const;
type Counts = { readonly [counter in (typeof COUNTERS)[number]]: number };

/**
 * Logins that succeeded and that failed since the last look, as Dovecot counts them (OpenMetrics). The first look only
 * learns where the counters stand; one that fell has begun anew.
 */
export const loginMetrics = (url: string = 'http://127.0.0.1:9900/metrics'): Collector => {
  let before: Counts | undefined;
  return {
    name: 'logins',
    collect: async () => {
      const reply = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT) });
      const now = countersIn(await reply.text());
      const last = before;
      before = now;
      if (last === undefined) return [];
      const since = (counter: keyof Counts) => now[counter] - (now[counter] >= last[counter] ? last[counter] : 0);
      const failed = Math.max(0, since('auth_failure') - since('auth_put_off'));
      return [
        { name: 'Logins', unit: StandardUnit.Count, value: since('auth_success') },
        { name: 'FailedLogins', unit: StandardUnit.Count, value: failed },
      ];
    },
  };
};

const countersIn = (page: string): Counts => {
  const counts = COUNTERS.map((counter) => {
    const found = new RegExp(`^dovecot_${counter}_total (\\d+)$`, 'm').exec(page);
    if (!found) throw new Error(`Dovecot's metrics have no ${counter}`);
    return [counter, Number(found[1])];
  });
  return Object.fromEntries(counts) as Counts;
};
