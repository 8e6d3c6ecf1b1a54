import { handler, SendingEvent } from '../../handlers/sending-events';

// Events as SES sends them: https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-examples.html
const mail = {
  timestamp: '2026-11-22T08:00:02.012Z',
  source: 'Alice <alice@example.com>',
  messageId: '0107-1',
  destination: ['one@example.org', 'two@example.org'],
  commonHeaders: { subject: 'Private matter' },
  tags: { 'ses:configuration-set': ['mail'] },
};

let lines: { [field: string]: unknown }[];

beforeEach(() => {
  lines = [];
  jest.spyOn(console, 'log').mockImplementation((line) => void lines.push(JSON.parse(line)));
});

afterEach(() => {
  jest.restoreAllMocks();
  expect(JSON.stringify(lines)).not.toContain('Private matter');
});

function event(detail: object): SendingEvent {
  return { time: '2026-11-22T08:00:05Z', detail: { mail, ...detail } } as SendingEvent;
}

test('a bounce is a line for each recipient that it is about', async () => {
  await handler(
    event({
      eventType: 'Bounce',
      bounce: {
        bounceType: 'Permanent',
        bounceSubType: 'General',
        bouncedRecipients: [
          {
            emailAddress: 'two@example.org',
            action: 'failed',
            status: '5.1.1',
            diagnosticCode: 'smtp; 550 5.1.1 user unknown',
          },
        ],
        timestamp: '2026-11-22T08:00:04.669Z',
      },
    }),
  );
  expect(lines).toEqual([
    {
      time: '2026-11-22T08:00:04.669Z',
      event: 'Bounce',
      sender: 'Alice <alice@example.com>',
      recipient: 'two@example.org',
      messageId: '0107-1',
      type: 'Permanent',
      subType: 'General',
      status: '5.1.1',
      reason: 'smtp; 550 5.1.1 user unknown',
    },
  ]);
});

test('a complaint and a delay say of whom', async () => {
  await handler(
    event({
      eventType: 'Complaint',
      complaint: {
        complainedRecipients: [{ emailAddress: 'one@example.org' }],
        complaintFeedbackType: 'abuse',
        complaintSubType: null,
      },
    }),
  );
  await handler(
    event({
      eventType: 'DeliveryDelay',
      deliveryDelay: {
        delayType: 'MailboxFull',
        delayedRecipients: [{ emailAddress: 'one@example.org', status: '4.2.2' }],
      },
    }),
  );
  expect(lines).toEqual([
    expect.objectContaining({ event: 'Complaint', recipient: 'one@example.org', type: 'abuse' }),
    expect.objectContaining({
      event: 'DeliveryDelay',
      type: 'MailboxFull',
      status: '4.2.2',
      time: '2026-11-22T08:00:05Z',
    }),
  ]);
});

test('a rejected message is a line for each of its recipients', async () => {
  await handler(event({ eventType: 'Reject', reject: { reason: 'Bad content' } }));
  expect(lines.map(({ recipient, reason }) => [recipient, reason])).toEqual([
    ['one@example.org', 'Bad content'],
    ['two@example.org', 'Bad content'],
  ]);
});

test('fails when the event is of somebody else, so that the alarm tells', async () => {
  await expect(handler({ time: '', detail: {} } as SendingEvent)).rejects.toThrow('it is none of SES');
});
