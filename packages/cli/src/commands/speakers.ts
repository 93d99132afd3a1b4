import { AgentClient } from '../agent-client.ts';
import type { Invocation } from '../program/invocation.ts';
import { askAll, type NodeAnswer } from './agents.ts';

/** Asks each speaker once and gathers the answers, as `askAll` does for agents. */
export const askSpeakers = (
  invocation: Invocation,
  ask: (speaker: AgentClient) => Promise<unknown>,
): Promise<NodeAnswer[]> =>
  withSpeakers(invocation, (agents, name) => askAll({ name, agents }, ask, invocation.json));

/** The speaker stands beside each node's agent, unless a socket is named. */
export function withSpeakers<T>(
  invocation: Invocation,
  work: (speakers: readonly AgentClient[], name: string) => Promise<T>,
): Promise<T> {
  const { socket } = invocation.options;
  if (typeof socket === 'string')
    return work([new AgentClient('this machine', socket, 'speaker')], socket);
  return invocation.withTarget(({ agents, name }) =>
    work(
      agents.map((agent) => agent.beside('speaker', 'speaker.sock')),
      name,
    ),
  );
}

/** `60` as 1m, `3725` as 1h02m: what a table has room for. */
export function duration(seconds: number): string {
  const whole = Math.floor(seconds);
  const two = (value: number) => String(value).padStart(2, '0');
  if (whole < 60) return `${whole}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m${two(whole % 60)}s`;
  if (whole < 86_400) return `${Math.floor(whole / 3600)}h${two(Math.floor(whole / 60) % 60)}m`;
  return `${Math.floor(whole / 86_400)}d${two(Math.floor(whole / 3600) % 24)}h`;
}
