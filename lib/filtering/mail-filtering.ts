import { Size, Token } from 'aws-cdk-lib';
import { Construct } from 'constructs';
import { NodeConfiguration } from '../node/node-configuration';
import { FilterOutage } from './filter-outage';

/** What an owner chooses about the filter. */
export interface MailFilteringOptions {
  /**
   * What happens to mail while the filter, or the virus scanner, does not answer.
   * @default FilterOutage.ACCEPT
   */
  readonly duringOutage?: FilterOutage;

  /**
   * Whether mail from outside that looks somewhat like spam, with a score of 4 or more, is put off for five minutes once:
   * what sends spam seldom comes again.
   * @default true
   */
  readonly greylisting?: boolean;

  /**
   * Whether ClamAV looks for viruses, in both directions. Its signatures take 1.5 GiB of memory on each node.
   * @default true
   */
  readonly virusScan?: boolean;

  /**
   * Score from which mail goes to Junk. Above 4, at which greylisting begins, and below `rejectScore`.
   * @default 6
   */
  readonly junkScore?: number;

  /**
   * Score from which mail is refused in SMTP, so that its sender hears of it. 100 at most.
   * @default 15
   */
  readonly rejectScore?: number;
}

/** Memory of a node for signatures of viruses, and for rspamd and its statistics. */
const MEMORY = { virusScan: Size.mebibytes(1536), filter: Size.mebibytes(512) };

/**
 * Spam and virus filtering on the nodes, by rspamd and ClamAV as milters of Postfix: spam and viruses are refused while
 * their sender waits, what may be spam goes to Junk, and moves into and out of Junk teach all nodes (docs/filtering.md).
 *
 * @throws when a score is out of its range
 */
export class MailFiltering extends Construct {
  /** What nodes need to filter. It asks for no AWS rights. */
  public readonly configuration: NodeConfiguration;

  constructor(scope: Construct, id: string, props: MailFilteringOptions = {}) {
    super(scope, id);
    const { junkScore = 6, rejectScore = 15, virusScan = true } = props;
    checkScore('junkScore', junkScore, 4, 100);
    checkScore('rejectScore', rejectScore, junkScore, 100);
    this.configuration = {
      environment: {
        MAIL_FILTERING: 'yes',
        MAIL_FILTER_OUTAGE: props.duringOutage ?? FilterOutage.ACCEPT,
        MAIL_GREYLISTING: (props.greylisting ?? true) ? 'yes' : 'no',
        MAIL_VIRUS_SCAN: virusScan ? 'yes' : 'no',
        MAIL_JUNK_SCORE: `${junkScore}`,
        MAIL_REJECT_SCORE: `${rejectScore}`,
      },
      memory: Size.mebibytes(MEMORY.filter.toMebibytes() + (virusScan ? MEMORY.virusScan.toMebibytes() : 0)),
    };
  }
}

function checkScore(name: string, value: number, above: number, max: number): void {
  if (!Token.isUnresolved(value) && !(value > above && value <= max)) {
    throw new Error(`${name} must be above ${above} and <= ${max}, got ${value}; change ${name}`);
  }
}
