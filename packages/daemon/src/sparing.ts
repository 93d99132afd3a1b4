import type { Log } from './log.ts';

const BURST = 20;
const PER_SECOND = 1;

interface Budget {
  lines: number;
  /** ms */
  at: number;
  left: number;
}

/**
 * A log for what others can cause as often as they like: of each message a burst, then one line a second, which says
 * how many it stands for (`leftOut`). Messages are few and the program's own; what comes from outside stands in fields.
 */
export function sparingLog(log: Log, now: () => number = () => performance.now()): Log {
  const budgets = new Map<string, Budget>();
  const sparing =
    (level: 'debug' | 'info' | 'warn' | 'error') =>
    (fields: object, message: string): void => {
      const at = now();
      const budget = budgets.get(message) ?? { lines: BURST, at, left: 0 };
      budgets.set(message, budget);
      budget.lines = Math.min(BURST, budget.lines + ((at - budget.at) / 1000) * PER_SECOND);
      budget.at = at;
      if (budget.lines < 1) {
        budget.left++;
        return;
      }
      budget.lines--;
      log[level](budget.left === 0 ? fields : { ...fields, leftOut: budget.left }, message);
      budget.left = 0;
    };
  return {
    debug: sparing('debug'),
    info: sparing('info'),
    warn: sparing('warn'),
    error: sparing('error'),
  };
}
