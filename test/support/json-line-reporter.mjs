/** Jest reporter: the last line of standard output is `{"checks":N,"failed":M}`. Nothing checked counts as a failure. */
export default class JsonLineReporter {
  error;

  onRunComplete(_contexts, results) {
    const checks = results.numPassedTests + results.numFailedTests;
    // A file that can't be loaded fails without a test.
    const failed = results.numFailedTests + results.numRuntimeErrorTestSuites;
    if (checks === 0) this.error = new Error('no check was run');
    process.stdout.write(`${JSON.stringify({ checks, failed: checks === 0 ? Math.max(1, failed) : failed })}\n`);
  }

  /** Jest's exit status is 1 when this returns one. */
  getLastError() {
    return this.error;
  }
}
