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
  output(stack, 'ArchiveBucketName', stack.archive.bucket.bucketName, 'Archived mail');
  output(stack, 'StoreId', stack.store.storeId, 'Mail, indexes and queues');
  output(stack, 'AlarmTopicArn', stack.alarmTopic.topicArn, 'Where alarms go; subscribe to it');
}

function output(stack: MailStack, id: string, value: string, description: string): void {
  new CfnOutput(stack, id, { value, description });
}
