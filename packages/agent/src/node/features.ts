import { messageWithCauses } from '@causeway/daemon';
import { type Feature, Features, LinuxError } from '@causeway/linux';
import type { AgentConfig } from '../config/schema.ts';
import { AgentError } from '../errors.ts';

/** What every configuration needs; the rest has a fallback or is needed by a mode alone. */
const ALWAYS: readonly Feature[] = ['ringbuf', 'redirect-peer', 'redirect-neigh', 'fib-lookup'];

/**
 * Tries what the kernel can, before anything is touched.
 * @throws AgentError `missing-feature` naming the feature, the Linux that has it, and the way out.
 */
export function probeFeatures(config: AgentConfig): Features {
  const overrides: Partial<Record<Feature, boolean>> = {};
  for (const name of config.simulate.missingFeatures) overrides[name as Feature] = false;
  let features: Features;
  try {
    features = new Features(overrides);
  } catch (cause) {
    if (!(cause instanceof LinuxError)) throw cause;
    throw new AgentError('bad-config', `simulate.missingFeatures: ${cause.message}`, {
      field: 'simulate.missingFeatures',
      value: config.simulate.missingFeatures,
      cause,
    });
  }
  const demand = (feature: Feature, hint: string) => {
    try {
      features.require(feature);
    } catch (cause) {
      throw new AgentError(
        'missing-feature',
        `this kernel cannot serve Causeway: ${messageWithCauses(cause)}`,
        {
          field: feature,
          hint,
          cause,
        },
      );
    }
  };
  for (const feature of ALWAYS) demand(feature, 'run Linux 5.10 or later');
  if (config.routingMode !== 'native')
    demand('skb-tunnel-key', 'use routingMode native, or a later kernel');
  if (config.socketLB.enabled) {
    demand('bpf-link-cgroup', 'set socketLB.enabled to false: services then work per packet');
  }
  return features;
}
