/**
 * Applies a function to each item, to several at a time, and gives the results in the order of the items.
 *
 * @param width how many are under way at most
 */
export async function* inOrder<T, R>(
  items: AsyncIterable<T>,
  width: number,
  apply: (item: T) => Promise<R>,
): AsyncGenerator<R> {
  const underWay: Promise<R>[] = [];
  try {
    for await (const item of items) {
      underWay.push(apply(item));
      if (underWay.length === width) {
        yield await underWay.shift()!;
      }
    }
    while (underWay.length > 0) {
      yield await underWay.shift()!;
    }
  } finally {
    // Of those that nobody waits for any more, a failure must not end the process.
    underWay.forEach((result) => result.catch(() => undefined));
  }
}
