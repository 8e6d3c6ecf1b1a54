import { SqlDirectory } from './sql-directory';
import { UserDirectory } from './user-directory';
import { UserFile } from './user-file';

/** Who may log in, wherever it is kept: read and changed as the users file is. */
export interface Directory {
  /** Where it is, without a password. */
  readonly location: string;

  /** The users as they are now. */
  read(): Promise<UserFile>;

  /**
   * Applies a change to what is there at the moment of writing, whole or not at all.
   *
   * @throws what `change` throws
   */
  update(change: (file: UserFile) => void): Promise<void>;
}

/** How to reach a directory. */
export interface DirectoryOptions {
  /**
   * Port on this machine that leads to the database.
   * @default - `MAIL_DIRECTORY_TUNNEL` of the environment; without it straight to the host and port of the location
   */
  readonly tunnel?: number;
}

/**
 * The directory at a location: `s3://bucket/users`, or `postgres://role@host:port/database`.
 *
 * @throws when it is neither
 */
export function openDirectory(location: string, options: DirectoryOptions = {}): Directory {
  if (/^postgres(ql)?:\/\//.test(location)) {
    const { MAIL_DIRECTORY_TUNNEL: port } = process.env;
    return new SqlDirectory(location, { tunnel: options.tunnel ?? (port ? Number(port) : undefined) });
  }
  if (options.tunnel !== undefined) {
    throw new Error(`--tunnel goes with a directory in a database only, got ${location}`);
  }
  return new UserDirectory(location);
}
