/** Where EC2 serves instance metadata. */
const DEFAULT_ENDPOINT = 'http://169.254.169.254';
const TOKEN_SECONDS = 21_600;
const TIMEOUT = 2_000;

class StatusError extends Error {
  public constructor(
    path: string,
    public readonly status: number,
  ) {
    super(`instance metadata ${path}: HTTP ${status}`);
  }
}

/**
 * Reads EC2 instance metadata by IMDSv2 (token first; the nodes refuse IMDSv1).
 *
 * The AWS SDK keeps its own client private. `AWS_EC2_METADATA_SERVICE_ENDPOINT` is the variable that the SDK takes for
 * its credentials too, so both always ask the same service.
 * @see https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html
 */
export class InstanceMetadata {
  private readonly endpoint: string;
  private token?: { readonly value: Promise<string>; readonly renewAt: number };
  private instance?: string;

  public constructor(endpoint: string = process.env.AWS_EC2_METADATA_SERVICE_ENDPOINT || DEFAULT_ENDPOINT) {
    this.endpoint = endpoint.replace(/\/+$/, '');
  }

  /**
   * The value at `path` below `/latest/meta-data/`, or undefined when there is none (404).
   *
   * @throws when the service doesn't answer within 2 s or answers with another error.
   */
  public async get(path: string): Promise<string | undefined> {
    try {
      return await this.read(path);
    } catch (error) {
      if (!(error instanceof StatusError)) throw error;
      if (error.status === 404) return undefined;
      // 401: the token isn't valid any more, for instance after a stop and start on other hardware.
      if (error.status !== 401) throw error;
      this.token = undefined;
      return this.read(path);
    }
  }

  /** This instance's id, such as `i-0123456789abcdef0`. Asked for once. */
  public async instanceId(): Promise<string> {
    return (this.instance ??= await this.demand('instance-id'));
  }

  /** The value at `path`. @throws also when there is none. */
  public async demand(path: string): Promise<string> {
    const value = await this.get(path);
    if (!value) throw new Error(`instance metadata has no ${path}`);
    return value;
  }

  private async read(path: string): Promise<string> {
    const token = await this.currentToken();
    return this.request('GET', `/latest/meta-data/${path}`, { 'X-aws-ec2-metadata-token': token });
  }

  // Kept as a promise: reads that begin together share one request for a token.
  private async currentToken(): Promise<string> {
    if (!this.token || performance.now() >= this.token.renewAt) {
      const value = this.request('PUT', '/latest/api/token', {
        'X-aws-ec2-metadata-token-ttl-seconds': String(TOKEN_SECONDS),
      });
      this.token = { value, renewAt: performance.now() + (TOKEN_SECONDS - 60) * 1000 };
    }
    const { token } = this;
    try {
      return await token.value;
    } catch (error) {
      if (this.token === token) this.token = undefined;
      throw error;
    }
  }

  private async request(method: string, path: string, headers: { [name: string]: string }): Promise<string> {
    const response = await fetch(this.endpoint + path, { method, headers, signal: AbortSignal.timeout(TIMEOUT) });
    const body = await response.text();
    if (!response.ok) throw new StatusError(path, response.status);
    return body.trim();
  }
}
