import * as path from 'node:path';

/** The project's root folder. */
export const PROJECT = path.join(__dirname, '..');

/**
 * Where root file systems and other slow things are kept between runs; `MAIL_CACHE_DIR` moves it. Nothing outside this
 * folder is written to.
 */
export const CACHE = process.env.MAIL_CACHE_DIR ?? path.join(PROJECT, '.cache');
