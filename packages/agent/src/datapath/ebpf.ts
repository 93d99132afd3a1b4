import type { Features } from '@causeway/linux';
import type { AgentConfig } from '../config/schema.ts';
import type { Log } from '../log.ts';
import type { NodeDatapath } from './ports.ts';

export function openDatapath(_config: AgentConfig, _features: Features, _log: Log): NodeDatapath {
  throw new Error('not here yet');
}
