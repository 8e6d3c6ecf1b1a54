import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import * as path from 'node:path';

const PROJECT = path.join(__dirname, '..', '..');

/** A folder as a consumer of the package has it: the packed tarball and its peers in node_modules. */
export class Consumer {
  public readonly folder = mkdtempSync(path.join(tmpdir(), 'mail-consumer-'));

  constructor() {
    const modules = path.join(this.folder, 'node_modules');
    mkdirSync(modules);
    for (const name of readdirSync(path.join(PROJECT, 'node_modules'))) {
      symlinkSync(path.join(PROJECT, 'node_modules', name), path.join(modules, name));
    }
    const [tarball] = JSON.parse(
      this.run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', this.folder], PROJECT),
    ) as { filename: string }[];
    this.run('tar', ['-xzf', tarball.filename]);
    cpSync(path.join(this.folder, 'package'), path.join(modules, 'cdk-mail-platform'), { recursive: true });
  }

  /** Copies an example of the project into the folder. */
  public example(name: string): string {
    const target = path.join(this.folder, name);
    cpSync(path.join(PROJECT, 'examples', name), target, { recursive: true });
    return target;
  }

  /** Checks the types of a folder that has a tsconfig.json. @throws with what the compiler printed */
  public compile(folder: string): void {
    this.run(path.join(PROJECT, 'node_modules', '.bin', 'tsc'), ['--project', folder], folder);
  }

  /** Runs a command and returns what it printed. @throws with that when it fails */
  public run(command: string, args: string[], cwd = this.folder, env: NodeJS.ProcessEnv = {}, input = ''): string {
    try {
      return execFileSync(command, args, {
        cwd,
        encoding: 'utf8',
        input,
        stdio: 'pipe',
        env: { ...process.env, ...env },
        maxBuffer: 1 << 26,
      });
    } catch (error) {
      const { stdout, stderr } = error as { stdout: string; stderr: string };
      throw new Error(`${path.basename(command)} ${args.join(' ')}: ${stdout}\n${stderr}`.slice(-4000));
    }
  }

  public remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
