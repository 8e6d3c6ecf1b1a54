import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A page of docs/ with tables that code makes, each between `<!-- name -->` and `<!-- end -->`. */
export class DocPage {
  public readonly path: string;

  /**
   * @param name of the page, such as `sizing.md`
   * @param tables what makes each table
   */
  constructor(
    name: string,
    private readonly tables: { readonly [name: string]: () => string },
  ) {
    this.path = join(__dirname, '..', 'docs', name);
  }

  public read(): string {
    return readFileSync(this.path, 'utf8');
  }

  /** The page with its tables made anew. @throws when it has a table that nothing makes, or lacks one */
  public withTables(page: string): string {
    const found = [...page.matchAll(/^<!-- (?!end)(\w+) -->$/gm)].map(([, name]) => name);
    if (found.sort().join() !== Object.keys(this.tables).sort().join()) {
      throw new Error(
        `${this.path} must have the tables ${Object.keys(this.tables).join(', ')}, got ${found.join(', ')}`,
      );
    }
    return page.replace(
      /<!-- (\w+) -->[\s\S]*?<!-- end -->/g,
      (_all, name: string) => `<!-- ${name} -->\n${this.tables[name]()}\n<!-- end -->`,
    );
  }

  public write(): void {
    writeFileSync(this.path, this.withTables(this.read()));
  }
}

/** A table of Markdown. @param align of each column: `---`, or `--:` for numbers */
export function markdownTable(head: string[], align: string[], rows: string[][]): string {
  return [head, align, ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}
