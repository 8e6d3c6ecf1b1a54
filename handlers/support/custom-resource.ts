import type { CloudFormationCustomResourceEvent } from 'aws-lambda';

/** What a custom resource tells CloudFormation. */
export interface CustomResourceResult {
  /** Kept over updates, or CloudFormation deletes what the former id stood for. */
  readonly physicalResourceId: string;
  /** Attributes; readable by whoever may describe the stack, so never a secret. */
  readonly data?: Record<string, string>;
}

/**
 * Runs one request of a custom resource and always answers CloudFormation, which would else wait for an hour.
 *
 * Neither the event (its ResponseURL is a credential) nor a result is logged. Of an error only the name and message.
 *
 * @see https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/crpg-ref-requesttypes.html
 */
export async function answer(
  event: CloudFormationCustomResourceEvent,
  run: () => Promise<CustomResourceResult>,
): Promise<void> {
  const { StackId, RequestId, LogicalResourceId, RequestType } = event;
  const identity = { StackId, RequestId, LogicalResourceId };
  const knownId = 'PhysicalResourceId' in event ? event.PhysicalResourceId : undefined;
  let body: Record<string, unknown>;
  try {
    const { physicalResourceId, data } = await run();
    body = { ...identity, Status: 'SUCCESS', PhysicalResourceId: physicalResourceId, Data: data ?? {} };
  } catch (error) {
    const reason = error instanceof Error ? `${error.name}: ${error.message}` : 'unknown error';
    console.error(JSON.stringify({ requestType: RequestType, logicalResourceId: LogicalResourceId, reason }));
    // An id even for a failed creation: CloudFormation deletes it when it rolls back.
    body = { ...identity, Status: 'FAILED', PhysicalResourceId: knownId ?? LogicalResourceId, Reason: reason };
  }
  await put(event.ResponseURL, JSON.stringify(body));
}

async function put(url: string, body: string): Promise<void> {
  // The presigned URL was signed with an empty content type.
  const response = await fetch(url, { method: 'PUT', body, headers: { 'content-type': '' } });
  if (!response.ok) {
    throw new Error(`CloudFormation did not take the answer: HTTP ${response.status}`);
  }
}
