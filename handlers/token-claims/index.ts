import type { PreTokenGenerationV2TriggerEvent } from 'aws-lambda';

/**
 * Writes the user's address into access tokens, which have none otherwise, so that mail nodes know whose mailbox they
 * open. Addresses that were not verified are left out: their tokens open nothing.
 *
 * @see https://docs.aws.amazon.com/cognito/latest/developerguide/user-pool-lambda-pre-token-generation.html
 */
export async function handler(event: PreTokenGenerationV2TriggerEvent): Promise<PreTokenGenerationV2TriggerEvent> {
  const { email, email_verified: verified } = event.request.userAttributes;
  if (email !== undefined && verified === 'true') {
    event.response.claimsAndScopeOverrideDetails = {
      accessTokenGeneration: { claimsToAddOrOverride: { email } },
    };
  }
  return event;
}
