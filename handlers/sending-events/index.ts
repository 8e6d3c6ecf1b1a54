/** A recipient that an event is about. */
interface Recipient {
  readonly emailAddress: string;
  /** Enhanced status, such as `5.1.1`. */
  readonly status?: string;
  readonly diagnosticCode?: string;
}

/** What is used of an event. */
export interface SendingEvent {
  readonly time: string;
  readonly detail: {
    readonly eventType?: string;
    readonly mail: { readonly messageId: string; readonly source?: string; readonly destination?: string[] };
    readonly bounce?: Details & { readonly bouncedRecipients?: Recipient[] };
    readonly complaint?: Details & { readonly complainedRecipients?: Recipient[] };
    readonly deliveryDelay?: Details & { readonly delayedRecipients?: Recipient[] };
    readonly reject?: { readonly reason?: string };
  };
}

interface Details {
  readonly timestamp?: string;
  readonly [name: string]: unknown;
}

/**
 * Writes one line of JSON for each recipient of an event of SES. Neither subject nor headers are written.
 *
 * Repeated events make repeated lines, with the same `messageId` and `recipient`.
 *
 * @throws when the event is none of SES's; EventBridge tries again, and an alarm tells
 * @see https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html
 */
export async function handler(event: SendingEvent): Promise<void> {
  const { mail, eventType, bounce, complaint, deliveryDelay, reject } = event.detail;
  if (!mail?.messageId) {
    throw new Error('the event has no message id: it is none of SES');
  }
  const details = bounce ?? complaint ?? deliveryDelay;
  const about = bounce?.bouncedRecipients ?? complaint?.complainedRecipients ?? deliveryDelay?.delayedRecipients ?? [];
  const recipients: Recipient[] =
    about.length > 0 ? about : (mail.destination ?? []).map((emailAddress) => ({ emailAddress }));
  for (const { emailAddress, status, diagnosticCode } of recipients) {
    console.log(
      JSON.stringify({
        time: details?.timestamp ?? event.time,
        event: eventType ?? 'unknown',
        sender: mail.source,
        recipient: emailAddress,
        messageId: mail.messageId,
        type: bounce?.bounceType ?? deliveryDelay?.delayType ?? complaint?.complaintFeedbackType,
        // OnAccountSuppressionList: SES did not even try.
        subType: bounce?.bounceSubType ?? complaint?.complaintSubType ?? undefined,
        status,
        reason: diagnosticCode ?? reject?.reason,
      }),
    );
  }
}
