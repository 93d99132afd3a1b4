import { directionBit, type L4, maskPort, packL4 } from './l4.ts';
import type { Direction } from './model.ts';
import { PROTOCOL } from './protocols.ts';

/**
 * Bits of an entry's `flags`, the kernel's byte. A key holds what all rules that share it say
 * together; these are all values that occur:
 *
 *     0                          allowed
 *     deny                       denied
 *     audit                      allowed by audited rules only: counts for the would-be verdict alone
 *     deny | audit               denied by audited rules only: would be denied, passes
 *     deny | audit | alsoAllow   the same key is allowed by a rule in force
 */
export const ENTRY_FLAGS = Object.freeze({ deny: 1, audit: 2, alsoAllow: 4 });

/**
 * What happens to a packet that no entry matches: it passes (`off`), it passes but is reported
 * because an audited policy would drop it (`audit`), or it is dropped (`enforced`).
 */
export type Enforcement = 'off' | 'audit' | 'enforced';

export interface EntryValue {
  readonly flags: number;
  readonly ruleId: number;
}

/** A compiled policy set as the kernel sees it: the entries, and what stands beside them. */
export interface PolicyView {
  readonly ingress: Enforcement;
  readonly egress: Enforcement;
  /** Bit n is set if a key with port prefix length n is in use. Index 0 ingress, 1 egress. */
  readonly prefixLengths: readonly [number, number];
  get(identity: number, l4: L4): EntryValue | undefined;
}

/**
 * `audit` passes and is reported: an audited policy, were it in force, would drop it. `ruleId` names
 * the deciding entry's rule and is absent where the default decides.
 */
export interface Verdict {
  readonly type: 'allow' | 'deny' | 'audit';
  readonly ruleId?: number;
}

const ALLOW_BY_DEFAULT: Verdict = { type: 'allow' };
const DENY_BY_DEFAULT: Verdict = { type: 'deny' };
const AUDIT_BY_DEFAULT: Verdict = { type: 'audit' };

/**
 * The kernel's lookup, step for step: the keys (identity or any) x (protocol with each port prefix
 * length in use, or any protocol). Any deny in force denies. Else the packet passes if a rule in
 * force allows it or the direction is not enforced; what passes is reported as audit if an audited
 * deny matches, or if nothing at all allows it and an audited policy wants default deny.
 * @param protocol IANA number of the packet, never 0.
 * @param port destination port in host byte order; the message type for ICMP and ICMPv6; 0 where
 *   the protocol has none.
 */
export function lookupVerdict(
  view: PolicyView,
  direction: Direction,
  identity: number,
  protocol: number,
  port: number,
): Verdict {
  const dir = directionBit(direction);
  const lengths = view.prefixLengths[dir];
  let allowed: EntryValue | undefined;
  let auditedDeny: EntryValue | undefined;
  let auditedAllow = false;
  for (const peer of identity === 0 ? [0] : [identity, 0]) {
    for (let length = 16; length >= -1; length--) {
      // The last step is the key of any protocol, which has no port.
      if (length >= 0 && (lengths & (1 << length)) === 0) continue;
      const found =
        length >= 0
          ? view.get(peer, packL4(dir, protocol, length, maskPort(port, length)))
          : view.get(peer, packL4(dir, PROTOCOL.any, 0, 0));
      if (found === undefined) continue;
      const { flags } = found;
      if ((flags & ENTRY_FLAGS.audit) === 0) {
        if ((flags & ENTRY_FLAGS.deny) !== 0) return { type: 'deny', ruleId: found.ruleId };
        allowed ??= found;
      } else {
        if ((flags & ENTRY_FLAGS.alsoAllow) !== 0) allowed ??= found;
        if ((flags & ENTRY_FLAGS.deny) !== 0) auditedDeny ??= found;
        else auditedAllow = true;
      }
    }
  }
  const enforcement = view[direction];
  if (allowed === undefined && enforcement === 'enforced') return DENY_BY_DEFAULT;
  if (auditedDeny !== undefined) return { type: 'audit', ruleId: auditedDeny.ruleId };
  if (allowed !== undefined) return { type: 'allow', ruleId: allowed.ruleId };
  if (enforcement === 'audit' && !auditedAllow) return AUDIT_BY_DEFAULT;
  return ALLOW_BY_DEFAULT;
}
