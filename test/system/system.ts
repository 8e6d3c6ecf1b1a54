import { type ConnectionOptions } from 'node:tls';
import { LocalCluster } from '../../local/cluster';
import type { ClientView, LocalUser } from '../../local/mail-clients';
import { Progress } from '../../local/progress';
import { synthesise } from '../../local/synthesise';

/** What the suites of a file share: two nodes and a balancer, brought up once. */
export interface System {
  readonly cluster: LocalCluster;
  readonly view: ClientView;
  /** Options for TLS clients that check the certificate. */
  readonly tls: ConnectionOptions;
  readonly alice: LocalUser;
  readonly bob: LocalUser;
}

/**
 * Has a file's cluster brought up before its tests and ended after them; gives it to them.
 *
 * @param config configuration file of another cluster than `npm start`'s
 */
export function useSystem(config?: string): () => System {
  let cluster: LocalCluster | undefined;
  jest.setTimeout(60_000);

  beforeAll(async () => {
    const progress = new Progress();
    cluster = await LocalCluster.start({
      synthesise: (folder) => synthesise(folder, progress, config),
      progress,
      nodes: 2,
    });
  }, 300_000);

  afterAll(() => cluster?.stop());

  return () => {
    if (!cluster) throw new Error('the cluster is not up');
    const { view } = cluster;
    const [alice, bob] = cluster.users;
    return { cluster, view, tls: { ca: view.authority, servername: view.hostname }, alice, bob };
  };
}
