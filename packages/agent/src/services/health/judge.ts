import type { HealthCheck } from '@causeway/loadbalancing';

/** What tries in a row have made of a backend. `unknown`: too few tries yet, readiness is all that counts. */
export interface Judgement {
  readonly verdict: 'unknown' | 'healthy' | 'failing';
  /** Tries in a row that speak against the verdict; at an unknown one, that failed. */
  readonly against: number;
  /** Why the last failed try failed; absent with a healthy verdict that nothing speaks against. */
  readonly reason?: string;
}

export const UNJUDGED: Judgement = Object.freeze({ verdict: 'unknown', against: 0 });

/** One more try. `failure` is why it failed; undefined: it did not. Pure. */
export function judge(
  before: Judgement,
  failure: string | undefined,
  { healthyAfter, unhealthyAfter }: Pick<HealthCheck, 'healthyAfter' | 'unhealthyAfter'>,
): Judgement {
  if (failure === undefined) {
    if (before.verdict !== 'failing') return { verdict: 'healthy', against: 0 };
    const against = before.against + 1;
    if (against >= healthyAfter) return { verdict: 'healthy', against: 0 };
    return { ...before, against };
  }
  if (before.verdict === 'failing') return { verdict: 'failing', against: 0, reason: failure };
  const against = before.against + 1;
  if (against >= unhealthyAfter) return { verdict: 'failing', against: 0, reason: failure };
  return { verdict: before.verdict, against, reason: failure };
}
