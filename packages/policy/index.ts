export type {
  EndpointPolicy,
  PolicyDiff,
  PolicyEntry,
  PolicyEntryKey,
  PolicyInfo,
  PolicySetChange,
  PrefixChange,
  RuleRow,
} from './src/diff.ts';
export { PolicyEngine } from './src/engine.ts';
export type { IdentityView } from './src/identity-view.ts';
export { type L4, type L4Parts, maskPort, packL4, portPrefixes, unpackL4 } from './src/l4.ts';
export {
  ENTRY_FLAGS,
  type Enforcement,
  type EntryValue,
  lookupVerdict,
  type PolicyView,
  type Verdict,
} from './src/lookup.ts';
export {
  AUDIT_ANNOTATION,
  type CidrGroup,
  type Direction,
  type NamedPort,
  type Peer,
  type Policy,
  type PolicyKind,
  type PolicyRef,
  type PortMatch,
  policyName,
  type Rule,
  type RuleOrigin,
  ruleName,
  type Section,
  type SubjectLabels,
  type SubjectSelector,
} from './src/model.ts';
export type { NearMiss, Unmet } from './src/near-miss.ts';
export { type NodeView, nodeIdentityLabels } from './src/node-peers.ts';
export { type Parsed, parseCidrGroup, parsePolicy } from './src/parse/parse.ts';
export type { ParseSettings } from './src/parse/peers.ts';
export type { Party } from './src/party.ts';
export { PolicySet, type PolicySetSpec, policySetKey } from './src/policy-set.ts';
export { PROTOCOL, protocolName, protocolNumber } from './src/protocols.ts';
export {
  PolicyError,
  type PolicyErrorCode,
  type Refusal,
  type RefusalCode,
} from './src/refusal.ts';
export type { PolicyEndpoint } from './src/set-table.ts';
export { DEFAULT_POLICY_SETTINGS, type PolicySettings } from './src/settings.ts';
export { StableIds } from './src/stable-ids.ts';
export type { DirectionTrace, Trace, TraceQuery } from './src/trace.ts';
export type {
  PairChange,
  TrafficChange,
  WhatIf,
  WhatIfChange,
  WhatIfOptions,
  WhatIfParty,
} from './src/what-if.ts';
