import { readFile, statfs } from 'node:fs/promises';

/** Share of memory in use, in percent: what the kernel couldn't give to a new process without swapping. */
export const memoryUtilization = async (meminfo: string = '/proc/meminfo'): Promise<number> => {
  const text = await readFile(meminfo, 'latin1');
  const kibibytes = (key: string): number => {
    const found = new RegExp(`^${key}:\\s+(\\d+) kB$`, 'm').exec(text);
    if (!found) throw new Error(`${meminfo} has no ${key}`);
    return Number(found[1]);
  };
  return 100 * (1 - kibibytes('MemAvailable') / kibibytes('MemTotal'));
};

/** Share of a disk in use, in percent, as `df` counts: blocks that only root may use are neither used nor free. */
export const diskUtilization = async (path: string = '/'): Promise<number> => {
  const { blocks, bfree, bavail } = await statfs(path);
  const used = blocks - bfree;
  return (100 * used) / (used + bavail);
};

/** Share of a disk's inodes in use, in percent; 0 where the file system does not count them. */
export const inodeUtilization = async (path: string): Promise<number> => {
  const { files, ffree } = await statfs(path);
  return files > 0 ? (100 * (files - ffree)) / files : 0;
};
