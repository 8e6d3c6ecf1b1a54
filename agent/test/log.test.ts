import { messageOf, standardLog, Transitions } from '../src/log';
import { RecordingLog } from './support/recording-log';

test('writes one line a message with the priority that journald reads', () => {
  const written: string[] = [];
  const write = jest.spyOn(process.stdout, 'write').mockImplementation((text) => written.push(String(text)) > 0);
  standardLog.error('broken\n  in two places');
  standardLog.warning('odd');
  standardLog.info('fine');
  write.mockRestore();
  expect(written).toEqual(['<3>broken in two places\n', '<4>odd\n', '<6>fine\n']);
});

test('logs a fault when it begins and when it ends, not at each try', async () => {
  const log = new RecordingLog();
  const transitions = new Transitions(log);
  const broken = () => Promise.reject(new Error('full'));
  await transitions.watch('disk', broken);
  await transitions.watch('disk', broken);
  expect(await transitions.watch('disk', () => Promise.resolve(7))).toBe(7);
  await transitions.watch('disk', () => Promise.resolve(7));
  expect(log.lines).toEqual(['warning disk: failing: full', 'info disk: works again']);
});

test('shows the cause that fetch hides', async () => {
  const error = await fetch('http://127.0.0.1:1/').catch((reason) => reason);
  expect(messageOf(error)).toMatch(/fetch failed: \S+/);
});
