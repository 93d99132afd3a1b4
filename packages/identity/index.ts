export { cidrLabel, cidrLabels, prefixOfCidrLabel } from './src/cidr.ts';
export { IdentityError, type IdentityErrorCode } from './src/errors.ts';
export { DEFAULT_LABEL_RULES, type LabelFilter, labelFilter, labelFilterOf } from './src/filter.ts';
export {
  compareBytes,
  formatLabel,
  LABEL_KEYS,
  LABEL_SOURCES,
  type Label,
  LabelSet,
  label,
  parseLabel,
} from './src/labels.ts';
export {
  ClusterId,
  FIRST_ALLOCATED_IDENTITY,
  type IdentityLayout,
  type IdentityScope,
  identityLayout,
  isReserved,
  NumericIdentity,
  SCOPE,
  scopeOf,
} from './src/numeric.ts';
export { type PodLabelSource, podLabels } from './src/pod.ts';
export {
  identityName,
  RESERVED,
  type ReservedName,
  reservedId,
  reservedLabels,
  reservedName,
} from './src/reserved.ts';
export {
  type CompiledSelector,
  compileSelector,
  intersectSelectors,
  type LabelSelector,
  type LabelSelectorRequirement,
  type Requirement,
  selectorNamesKey,
  selectorOf,
} from './src/selector.ts';
