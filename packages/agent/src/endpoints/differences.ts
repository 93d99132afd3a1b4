import type { EndpointKernel } from './kernel.ts';
import type { EndpointEnforcement, EndpointPrograms } from './ports.ts';
import { type EndpointRecord, inForce } from './record.ts';
import { podInterface } from './record-views.ts';

/** Everything in which the kernel is not what the record says, in words; empty if nothing. */
export function differencesOf(
  parts: {
    readonly kernel: EndpointKernel;
    readonly programs: EndpointPrograms;
    readonly enforcement: EndpointEnforcement;
  },
  record: EndpointRecord,
  netns: string,
): string[] {
  const { kernel, programs, enforcement } = parts;
  using namespace = kernel.openNamespace(netns);
  const wrong: string[] = [];
  if (namespace.identity !== record.netnsIdentity)
    wrong.push(`${netns} is another network namespace than at ADD`);
  const link = kernel.hostLink(record.hostIfname);
  if (link === undefined) wrong.push(`the node has no device ${record.hostIfname}`);
  else if (link.index !== record.hostIfindex)
    wrong.push(`${record.hostIfname} is not the device that was made`);
  else if (!link.up && inForce(record)) wrong.push(`${record.hostIfname} is down`);
  if (!record.chained) wrong.push(...kernel.differences(namespace, podInterface(record)));
  if (!programs.attached(record.hostIfname, record.hostIfindex)) {
    wrong.push(`the programs are not attached to ${record.hostIfname}`);
  }
  if (inForce(record)) wrong.push(...enforcement.differences(record));
  return wrong;
}
