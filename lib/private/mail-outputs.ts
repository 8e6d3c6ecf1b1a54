import { CfnOutput, Fn } from 'aws-cdk-lib';
import { MailStack } from '../mail-stack';

/** What whoever deployed the stack needs to know, as its outputs. */
export function addOutputs(stack: MailStack): void {
  const { hostname, hostedZone } = stack;
  output(stack, 'Hostname', hostname, 'Name of the server in mail clients');
  output(stack, 'BalancerAddress', stack.edge.loadBalancer.loadBalancerDnsName, 'Where the host name leads');
  output(stack, 'ImapSettings', `${hostname}, port 993, TLS`, 'Reading mail; the user name is the whole address');
  output(stack, 'SubmissionSettings', `${hostname}, port 587, STARTTLS`, 'Sending mail; the same user name');
  if (hostedZone.hostedZoneNameServers) {
    output(
      stack,
      'NameServers',
      Fn.join(' ', hostedZone.hostedZoneNameServers),
      `NS records that the parent domain must have for ${hostname}; the deployment waits for them`,
    );
  }
  output(stack, 'UsersObject', stack.directory.location, 'Users: mail-users add --directory <this> name@domain');
  if (stack.singleSignOn) {
    const { issuer, clientId, authorizationUrl } = stack.singleSignOn;
    output(stack, 'SignInIssuer', issuer, 'Identity provider of mail clients (OAuth 2)');
    output(stack, 'SignInClientId', clientId, 'Client id of mail clients');
    if (authorizationUrl) {
      output(stack, 'SignInUrl', authorizationUrl, 'Where mail clients send people to sign in');
    }
  }
  if (stack.clientCertificates?.revocationsLocation) {
    output(
      stack,
      'ClientRevocationsObject',
      stack.clientCertificates.revocationsLocation,
      'Revocation lists of client certificates, and what they revoke: aws s3 cp lists.pem <this>',
    );
  }
  if (stack.erasureWithin) {
    output(
      stack,
      'EraseWithinHours',
      `${stack.erasureWithin.toHours()}`,
      'Time for erasure: mail-erase --within <this>',
    );
  }
  output(stack, 'ArchiveBucketName', stack.archive.bucket.bucketName, 'Archived mail');
  if (stack.journal?.keys) {
    const { bucketName } = stack.journal.keys.bucket;
    output(stack, 'JournalKeysBucketName', bucketName, 'Keys of the journal: mail-erase finish --keys s3://<this>');
  }
  output(stack, 'StoreId', stack.store.storeId, 'Mail, indexes and queues');
  output(stack, 'AlarmTopicArn', stack.alarmTopic.topicArn, 'Where alarms go; subscribe to it');
}

function output(stack: MailStack, id: string, value: string, description: string): void {
  new CfnOutput(stack, id, { value, description });
}
