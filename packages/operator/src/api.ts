import { type Api, createApi } from '@causeway/daemon';
import type { Operator } from './operator.ts';

export interface ApiParts {
  readonly operator: Operator;
  readonly about: () => object;
  readonly onError: (error: unknown, request: { method: string; path: string }) => void;
}

/** The HTTP routes, without a socket. Every instance answers questions; only the leader takes commands. */
export function operatorApi({ operator, about, onError }: ApiParts): Api {
  const app = createApi({ program: 'operator', requestBytes: 65_536, onError });
  app.get('/v1/status', (c) => c.json({ ...about(), ...operator.status() }));
  app.get('/v1/leader', (c) => {
    const { leader, leaderName, epoch, name } = operator.status();
    return c.json({ name, leader, leaderName: leaderName ?? null, epoch: epoch ?? null });
  });
  return app;
}
