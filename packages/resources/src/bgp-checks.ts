import type { Check } from './checks.ts';
import type { ResourceIssue } from './errors.ts';

/**
 * What Cilium's kinds can say and Causeway does not do. Asked of any value, valid or not: every step
 * looks before it goes on.
 */
export const checkBgpFamilies: Check = (value) =>
  familiesOf(value).filter((issue) => issue !== undefined);

function familiesOf(value: unknown): (ResourceIssue | undefined)[] {
  return list(get(get(value, 'spec'), 'families')).map((each, index) => {
    const afi = get(each, 'afi');
    const safi = get(each, 'safi');
    if (typeof afi !== 'string' || typeof safi !== 'string') return undefined;
    if ((afi === 'ipv4' || afi === 'ipv6') && safi === 'unicast') return undefined;
    return {
      type: 'unsupported',
      path: `spec.families[${index}]`,
      message: 'is not spoken yet; ipv4/unicast and ipv6/unicast are',
      value: `${afi}/${safi}`,
    };
  });
}

const get = (value: unknown, key: string): unknown =>
  typeof value === 'object' && value !== null && Object.hasOwn(value, key)
    ? (value as Record<string, unknown>)[key]
    : undefined;

const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
