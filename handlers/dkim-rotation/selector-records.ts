import {
  ChangeResourceRecordSetsCommand,
  ListResourceRecordSetsCommand,
  Route53Client,
  waitUntilResourceRecordSetsChanged,
} from '@aws-sdk/client-route-53';
import { DKIM_REVOKED, selectorName } from '../../lib/dns/dkim-text';
import { textOf, txt } from '../../lib/dns/dns-record';

/** Seconds; `PROPAGATION_SECONDS` of the construct is as long. */
const TTL = 300;

/** The TXT records of the selectors, in the zone of the mail host. */
export class SelectorRecords {
  private readonly client = new Route53Client({});

  constructor(
    private readonly hostedZoneId: string,
    private readonly hostname: string,
  ) {}

  /** The text of a selector, as the zone has it now. */
  public async read(selector: string): Promise<string | undefined> {
    const name = `${selectorName(selector, this.hostname)}.`;
    const { ResourceRecordSets } = await this.client.send(
      new ListResourceRecordSetsCommand({
        HostedZoneId: this.hostedZoneId,
        StartRecordName: name,
        StartRecordType: 'TXT',
        MaxItems: 1,
      }),
    );
    // The listing begins at the name, or after it when it is not there.
    const found = ResourceRecordSets?.find(({ Name, Type }) => Name === name && Type === 'TXT');
    const value = found?.ResourceRecords?.[0]?.Value;
    return value === undefined ? undefined : textOf(value);
  }

  /** Publishes a text and waits until all name servers of the zone have it. */
  public async write(selector: string, text: string): Promise<void> {
    const { ChangeInfo } = await this.client.send(
      new ChangeResourceRecordSetsCommand({
        HostedZoneId: this.hostedZoneId,
        ChangeBatch: {
          Comment: 'DKIM rotation',
          Changes: [
            {
              Action: 'UPSERT',
              ResourceRecordSet: {
                Name: `${selectorName(selector, this.hostname)}.`,
                Type: 'TXT',
                TTL,
                ResourceRecords: [{ Value: txt(text) }],
              },
            },
          ],
        },
      }),
    );
    await waitUntilResourceRecordSetsChanged(
      { client: this.client, maxWaitTime: 240, minDelay: 2, maxDelay: 10 },
      { Id: ChangeInfo!.Id },
    );
  }

  public async revoke(selector: string): Promise<void> {
    await this.write(selector, DKIM_REVOKED);
  }
}
