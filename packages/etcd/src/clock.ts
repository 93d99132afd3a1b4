import { type Clock, clockFrom } from '@causeway/tables';

/** The host's clock: monotonic within the process, and close to the wall clock at its start. */
export const systemClock: Clock = clockFrom({
  now: () => performance.timeOrigin + performance.now(),
  start: (callback, ms) => setTimeout(callback, ms),
  stop: (handle) => clearTimeout(handle),
});
