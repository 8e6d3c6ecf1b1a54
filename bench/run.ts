/** Runs a bench to its end. Clients and servers that are still open do not keep it. */
export function runBench(main: () => Promise<void>): void {
  main().then(
    () => process.exit(),
    (error: Error) => {
      console.error(error);
      process.exit(1);
    },
  );
}
