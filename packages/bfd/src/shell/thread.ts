import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { EventFd, Netns, preferThisThread } from '@causeway/linux';
import { Events } from './events.ts';
import { Loop, plainError } from './loop.ts';
import type { Command, Message, ThreadOptions } from './messages.ts';

/** The thread that `startBfd` makes: see there. It never comes back to its event loop until it ends. */
const options = workerData as ThreadOptions;
const port = parentPort;
if (port === null) throw new Error('this is the inside of a thread; call startBfd');
const post = (message: Message) => port.postMessage(message);

try {
  using wake = EventFd.copyOf(options.wake);
  using ns = options.netns === undefined ? undefined : Netns.open(options.netns);
  const preference = options.preferred
    ? preferThisThread()
    : ({ type: 'none', reason: 'not wanted' } as const);
  using loop = new Loop({
    ns,
    limit: options.limit,
    preference,
    wake,
    nextCommand: () => receiveMessageOnPort(port)?.message as Command | undefined,
    part: (id, rows) => post({ type: 'part', id, rows }),
    answer: (id, value) => post({ type: 'answer', id, value }),
    refuse: (id, error) => post({ type: 'refusal', id, error }),
    events: (problemOf) =>
      new Events((event) => post({ type: 'event', event }), options.taken, problemOf),
  });
  post({ type: 'ready' });
  loop.run();
} catch (error) {
  post({ type: 'failed', error: plainError(error) });
}
port.close();
