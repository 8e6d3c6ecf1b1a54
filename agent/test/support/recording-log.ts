import { Log } from '../../src/log';

/** A log that keeps its lines, each as `level message`. */
export class RecordingLog implements Log {
  public readonly lines: string[] = [];
  public error = (message: string) => void this.lines.push(`error ${message}`);
  public warning = (message: string) => void this.lines.push(`warning ${message}`);
  public info = (message: string) => void this.lines.push(`info ${message}`);
}
