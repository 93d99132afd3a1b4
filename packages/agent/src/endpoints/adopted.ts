import { Address } from '@causeway/ip';
import type { AttachRequest } from '../api/types.ts';
import { AgentError } from '../errors.ts';
import type { EndpointKernel, FoundInterface, PodNamespace } from './kernel.ts';

/**
 * The interface that a plugin before us made, if one did. What the kernel has counts; the caller's words must agree with
 * it. @throws AgentError `bad-request` naming what does not.
 */
export function adoptedInterface(
  kernel: Pick<EndpointKernel, 'findInterface'>,
  { chained, ifname }: AttachRequest,
  namespace: PodNamespace,
): FoundInterface | undefined {
  if (chained === undefined) return undefined;
  const found = kernel.findInterface(namespace, ifname);
  const refuse = (field: string, value: unknown, truth: unknown) =>
    new AgentError(
      'bad-request',
      `${field} is ${String(value)}, but the interface has ${String(truth)}`,
      {
        field,
        value,
        hint: 'hand over the result of the plugin that made the interface',
      },
    );
  if (chained.hostIfname !== found.host.name) {
    throw refuse('chained.hostIfname', chained.hostIfname, found.host.name);
  }
  for (const family of ['ipv4', 'ipv6'] as const) {
    const said = chained.addresses[family];
    if (said !== undefined && Address.tryParse(said) !== found.addresses[family]) {
      throw refuse(`chained.addresses.${family}`, said, found.addresses[family]);
    }
  }
  return found;
}
