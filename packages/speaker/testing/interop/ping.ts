/** Packets along a route, a hundred a second, counted by both ends of the exchange: what traffic notices of a restart. */
import type { Namespace } from '../namespaces.ts';
import { DaemonProcess } from '../process.ts';

export interface Counted {
  readonly sent: number;
  readonly lost: number;
}

/** Echo requests every 10 ms until `stop` is called. */
export function pings(
  namespace: Namespace,
  directory: string,
  target: string,
): { stop(): Promise<Counted> } & AsyncDisposable {
  const process = new DaemonProcess({
    name: `ping-${target.replaceAll(':', '-')}`,
    namespace,
    directory,
    // -W: an answer within a second or none; ping itself waits for the last ones at the end.
    argv: ['ping', '-q', '-n', '-i', '0.01', '-W', '1', target],
  });
  return {
    stop: async () => {
      process.signal('SIGINT');
      await process.ended;
      const match = /(\d+) packets transmitted, (\d+) received/.exec(process.log);
      if (match === null) throw new Error(`ping to ${target} says: ${process.log}`);
      return { sent: Number(match[1]), lost: Number(match[1]) - Number(match[2]) };
    },
    [Symbol.asyncDispose]: () => process.stop('SIGKILL'),
  };
}
