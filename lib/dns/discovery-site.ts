import { RemovalPolicy } from 'aws-cdk-lib';
import { AccessLogField, AccessLogFormat } from 'aws-cdk-lib/aws-apigateway';
import {
  ApiMapping,
  DomainName,
  HttpApi,
  HttpStage,
  LogGroupLogDestination,
  SecurityPolicy,
} from 'aws-cdk-lib/aws-apigatewayv2';
import { HttpLambdaIntegration } from 'aws-cdk-lib/aws-apigatewayv2-integrations';
import { Certificate, CertificateValidation, ICertificate, KeyAlgorithm } from 'aws-cdk-lib/aws-certificatemanager';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { LogGroup, RetentionDays } from 'aws-cdk-lib/aws-logs';
import { ARecord, IHostedZone, RecordTarget } from 'aws-cdk-lib/aws-route53';
import { ApiGatewayv2DomainProperties } from 'aws-cdk-lib/aws-route53-targets';
import { Construct } from 'constructs';
import { acknowledge } from '../compliance';
import { ISingleSignOn } from '../directory';
import { checkCommonName } from '../private/common-name';
import { HandlerFunction } from '../private/handler-function';
import { zoneThatHolds } from '../private/hosted-zone';
import { MailDnsSettings } from './mail-dns-settings';
import { mtaStsPolicyText, siteLabels, siteTarget } from './mail-records';

/** Properties of `DiscoverySite`. */
export interface DiscoverySiteProps {
  /** What it serves. */
  readonly settings: MailDnsSettings;

  /** Public zone that holds the mail host's name. */
  readonly hostedZone: IHostedZone;

  /**
   * Zones of domains in Route 53, by domain, for the proof that ACM asks for.
   * @default - the deployment waits until the records that ACM shows are in the domain's zone
   */
  readonly domainZones?: { [domain: string]: IHostedZone };

  /**
   * A certificate in the stack's region, for `autoconfig.`, `autodiscover.` and `mta-sts.` of each domain.
   * @default - a new one for each domain, issued and renewed by ACM
   */
  readonly certificate?: ICertificate;

  /**
   * Where mail clients get tokens. Told to them only if its addresses are known.
   * @default - clients ask for a password
   */
  readonly singleSignOn?: ISingleSignOn;

  /** Key of the logs. */
  readonly encryptionKey: IKey;
}

/**
 * What mail clients and servers ask of a domain over HTTPS: Mozilla's autoconfig, Outlook's Autodiscover (a POST, which
 * a static site would not take), and the MTA-STS policy (RFC 8461), of one function behind an HTTP API.
 *
 * Costs nothing while nobody asks; 1 USD for a million requests, and 100 requests a second at most.
 */
export class DiscoverySite extends Construct {
  /** What answers. */
  public readonly api: HttpApi;

  constructor(scope: Construct, id: string, props: DiscoverySiteProps) {
    super(scope, id);
    this.api = this.createApi(props);
    const stage = this.createStage(props.encryptionKey);
    for (const domain of props.settings.domains) {
      this.serve(domain, stage, props);
    }
  }

  private createApi({ settings, singleSignOn, encryptionKey }: DiscoverySiteProps): HttpApi {
    const { domains, hostname, services } = settings;
    const handler = new HandlerFunction(this, 'Handler', {
      handler: 'discovery',
      description: 'Tells mail clients and servers how to reach the mail system',
      statements: [],
      encryptionKey,
      environment: {
        SITE: JSON.stringify({
          ...{ domains, hostname, services, mtaStsPolicy: mtaStsPolicyText(settings) },
          signIn: singleSignOn && signInOf(singleSignOn),
        }),
      },
      calls:
        'API Gateway calls this function and tells the client of its failure; there is nothing to repeat. It calls ' +
        'nothing itself, and the stage limits requests (test/dns/discovery-site.test.ts).',
    });
    const api = new HttpApi(this, 'Api', {
      description: 'autoconfig, Autodiscover and MTA-STS',
      createDefaultStage: false,
      // Only by its names, whose certificates say whom one talks to.
      disableExecuteApiEndpoint: true,
      defaultIntegration: new HttpLambdaIntegration('Integration', handler.function),
    });
    acknowledge(api, {
      id: 'AwsSolutions-APIG4',
      reason:
        'A client that has no settings yet, and any mail server of the world, asks here. What it says is in public DNS ' +
        'too, and it reads no mailbox (test/dns/discovery-site.test.ts).',
    });
    return api;
  }

  private createStage(encryptionKey: IKey): HttpStage {
    const logGroup = new LogGroup(this, 'AccessLogs', {
      encryptionKey,
      retention: RetentionDays.ONE_YEAR,
      removalPolicy: RemovalPolicy.DESTROY,
    });
    return new HttpStage(this, 'Stage', {
      httpApi: this.api,
      autoDeploy: true,
      throttle: { rateLimit: 100, burstLimit: 200 },
      accessLogSettings: {
        destination: new LogGroupLogDestination(logGroup),
        // Without the query: clients put the address of their user there.
        format: AccessLogFormat.custom(
          JSON.stringify({
            time: AccessLogField.contextRequestTime(),
            ip: AccessLogField.contextIdentitySourceIp(),
            host: AccessLogField.contextDomainName(),
            method: AccessLogField.contextHttpMethod(),
            path: AccessLogField.contextPath(),
            status: AccessLogField.contextStatus(),
            requestId: AccessLogField.contextRequestId(),
          }),
        ),
      },
    });
  }

  private serve(domain: string, stage: HttpStage, props: DiscoverySiteProps): void {
    const { settings, hostedZone } = props;
    const scope = new Construct(this, domain);
    const labels = siteLabels(settings);
    const [first, ...others] = labels.map((label) => `${label}.${domain}`);
    if (!props.certificate) {
      checkCommonName('domains', first);
    }
    const certificate =
      props.certificate ??
      new Certificate(scope, 'Certificate', {
        domainName: first,
        subjectAlternativeNames: others,
        validation: CertificateValidation.fromDns(zoneThatHolds(domain, hostedZone, props.domainZones)),
        // Mail servers and old Outlooks that know no other kind ask here too.
        keyAlgorithm: KeyAlgorithm.RSA_2048,
        transparencyLoggingEnabled: true,
      });
    for (const label of labels) {
      const name = new DomainName(scope, `Name-${label}`, {
        domainName: `${label}.${domain}`,
        certificate,
        securityPolicy: SecurityPolicy.TLS_1_2,
      });
      new ApiMapping(scope, `Mapping-${label}`, { api: this.api, domainName: name, stage });
      new ARecord(scope, `Record-${label}`, {
        zone: hostedZone,
        recordName: `${siteTarget(label, domain, settings.hostname)}.`,
        target: RecordTarget.fromAlias(
          new ApiGatewayv2DomainProperties(name.regionalDomainName, name.regionalHostedZoneId),
        ),
      });
    }
  }
}

/** What autoconfig says of it; nothing when a client could not begin with it. */
function signInOf({ issuer, clientId, scopes, authorizationUrl, tokenUrl }: ISingleSignOn): object | undefined {
  return authorizationUrl && tokenUrl ? { issuer, clientId, scopes, authorizationUrl, tokenUrl } : undefined;
}
