/**
 * `npm start`: synthesises MailStack, checks it, and runs what the template says on this machine.
 *
 *     npm start                  bring up and stay until Ctrl-C
 *     npm start -- --check       bring up, prove that mail flows, take down
 *     npm start -- --nodes N     another number of nodes than the template's minimum
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { parseArgs } from 'node:util';
import { PERSON_PORT_OFFSET } from './balancer';
import { LocalCluster } from './cluster';
import { prepare, whyNotHere } from './prepare';
import { Progress } from './progress';
import { roundTrip } from './round-trip';
import { inSandbox } from './sandbox';
import { synthesise } from './synthesise';

interface Arguments {
  readonly check: boolean;
  readonly nodes?: number;
}

function readArguments(): Arguments {
  const { values } = parseArgs({ options: { check: { type: 'boolean' }, nodes: { type: 'string' } } });
  const nodes = values.nodes === undefined ? undefined : Number(values.nodes);
  if (nodes !== undefined && !(Number.isInteger(nodes) && nodes >= 1 && nodes <= 9)) {
    throw new Error(`--nodes must be a whole number from 1 to 9, got ${values.nodes}`);
  }
  return { check: values.check ?? false, nodes };
}

/** Where nodes can't run, the template is still made and checked. */
async function synthesiseOnly(obstacle: string): Promise<number> {
  const folder = mkdtempSync(path.join(tmpdir(), 'mail-synth-'));
  try {
    await synthesise(folder, new Progress());
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  console.log(`skipped: the local cluster ${obstacle}`);
  return 0;
}

async function outside(args: Arguments): Promise<number> {
  const obstacle = whyNotHere();
  if (obstacle) return synthesiseOnly(obstacle);
  await prepare(new Progress());
  const command = [process.execPath, '--import', 'tsx', __filename, ...process.argv.slice(2)];
  return inSandbox(command, { ...process.env, MAIL_IN_SANDBOX: args.check ? 'check' : 'stay' });
}

async function inside(args: Arguments): Promise<number> {
  const progress = new Progress();
  let cluster: LocalCluster | undefined;
  const stopped = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
  });
  // A stop during the start needs no order: the sandbox ends with this process.
  void stopped.then(() => cluster ?? process.exit(130));
  try {
    cluster = await LocalCluster.start({
      synthesise: (folder) => synthesise(folder, progress),
      progress,
      nodes: args.nodes,
      personPorts: !args.check,
    });
    await prove(cluster, progress);
    if (args.check) {
      await proveWithoutDovecot(cluster, progress);
      console.log(`\nMail flows. Everything took ${progress.elapsed()} s.`);
    } else {
      introduce(cluster, progress);
      await stopped;
      console.log('\nstopping');
    }
    return 0;
  } finally {
    cluster?.stop();
  }
}

async function prove(cluster: LocalCluster, progress: Progress): Promise<void> {
  const [alice, bob] = cluster.users;
  await progress.step(`${alice.address} sends by 587, ${bob.address} reads by 993`, () =>
    roundTrip(cluster.view, alice, bob),
  );
}

async function proveWithoutDovecot(cluster: LocalCluster, progress: Progress): Promise<void> {
  const [alice, bob] = cluster.users;
  const [node] = cluster.nodes;
  if (cluster.nodes.length < 2) {
    console.log('skipped: killing Dovecot on a node needs two nodes');
    return;
  }
  await progress.step(`Dovecot on ${node.name} killed and kept down, a message still goes both ways`, async () => {
    await node.shell('systemctl kill --signal=SIGKILL dovecot; systemctl stop dovecot');
    await roundTrip(cluster.view, bob, alice);
    await cluster.balancer.sees(node.name, false);
    await roundTrip(cluster.view, alice, bob);
  });
  await progress.step(`Dovecot on ${node.name} started again, the balancer uses it`, async () => {
    await node.shell('systemctl start dovecot');
    await cluster.balancer.sees(node.name, true);
  });
}

function introduce(cluster: LocalCluster, progress: Progress): void {
  const [alice, bob] = cluster.users;
  const port = (service: number) => service + PERSON_PORT_OFFSET;
  const ports = cluster.plan.listeners.map((listener) => `${listener.port} is ${port(listener.port)}`).join(', ');
  const trust = `--cacert ${path.relative(process.cwd(), cluster.authority.certificateFile)} --connect-to ::127.0.0.1:`;
  console.log(`
Up in ${progress.elapsed()} s: ${cluster.nodes.length} nodes of ${cluster.hostname}, on 127.0.0.1 with ports moved by ${PERSON_PORT_OFFSET}: ${ports}.

  users      ${cluster.users.map((user) => `${user.address} (password ${user.password})`).join('\n             ')}
  read       curl -s ${trust}${port(993)} --user ${bob.address}:${bob.password} 'imaps://${cluster.hostname}:${port(993)}/INBOX;MAILINDEX=1'
  send       printf 'Subject: hello\\n\\nhello\\n' | curl -s ${trust}${port(587)} --ssl-reqd --user ${alice.address}:${alice.password} \\
               --mail-from ${alice.address} --mail-rcpt ${bob.address} --upload-file - smtp://${cluster.hostname}:${port(587)}
  logs       ${path.relative(process.cwd(), cluster.folder)}

Ctrl-C stops everything and leaves nothing behind.`);
}

async function main(): Promise<number> {
  const args = readArguments();
  return process.env.MAIL_IN_SANDBOX ? inside(args) : outside(args);
}

main().then(
  (code) => process.exit(code),
  (error: Error) => {
    console.error(`\n${error.message}`);
    process.exit(1);
  },
);
