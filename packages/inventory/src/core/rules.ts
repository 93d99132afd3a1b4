import { type LabelFilter, type LabelSet, labelFilter, podLabels } from '@causeway/identity';
import { isLabelKey, isLabelValue, PLATFORM_LABEL, SITE_LABEL } from '@causeway/resources';
import { InventoryError } from '../errors.ts';
import type { Item } from './item.ts';
import type { Condition, FilterConfig, LabelRule } from './rules-config.ts';

/** What the inventory says of itself about every endpoint; no source and no rule can say otherwise. */
export const OWN_LABELS = Object.freeze({
  platform: PLATFORM_LABEL,
  site: SITE_LABEL,
});

export interface MappingOptions {
  readonly cluster: string;
  /** The source's name, a fact that filters and rules may name. */
  readonly source: string;
  readonly filter: FilterConfig;
  /** In their order. */
  readonly rules: readonly LabelRule[];
  /** For items that name none. */
  readonly namespace: string;
  readonly site: string | undefined;
  /** Cilium's `--labels`, over its defaults. */
  readonly identityLabels: readonly string[];
}

export interface Mapped {
  readonly namespace: string;
  /** What makes the identity. */
  readonly labels: LabelSet;
  /** What was said and cannot stand in a label, or makes no identity. */
  readonly warnings: readonly string[];
}

/** Decides which items take part and what their labels are. Compiled once a source. */
export class Mapping {
  readonly #options: MappingOptions;
  readonly #include: readonly Test[];
  readonly #exclude: readonly Test[];
  readonly #rules: readonly Compiled[];
  readonly #filter: LabelFilter;
  /** Machines are many and their label sets few: what the same words came to. */
  readonly #finished = new Map<string, Mapped>();

  /** @throws IdentityError `bad-filter-rule` for an identity label rule that is none. */
  constructor(options: MappingOptions) {
    this.#options = options;
    this.#include = options.filter.include.map(testOf);
    this.#exclude = options.filter.exclude.map(testOf);
    this.#rules = options.rules.map((rule) => ({
      rule,
      when: rule.when === undefined ? undefined : testOf(rule.when),
      glob: 'drop' in rule ? globOf(rule.drop) : undefined,
    }));
    this.#filter = labelFilter(options.identityLabels);
  }

  /** Whether there are filters at all. */
  get filters(): boolean {
    return this.#include.length + this.#exclude.length > 0;
  }

  /** Why the item takes no part; undefined if it does. */
  leavesOut(item: Item): string | undefined {
    const facts = this.#facts(item);
    const excluded = this.#exclude.findIndex((test) => test(facts));
    if (excluded >= 0) return `filter.exclude[${excluded}] fits it`;
    if (this.#include.length > 0 && !this.#include.some((test) => test(facts))) {
      return 'no filter.include fits it';
    }
    return undefined;
  }

  labelsOf(item: Item): Mapped {
    const facts = this.#facts(item);
    const labels: Record<string, string> = { ...item.labels };
    for (const { rule, when, glob } of this.#rules) {
      if (when !== undefined && !when((name) => factOf(name, item, labels) ?? facts(name)))
        continue;
      if ('set' in rule) Object.assign(labels, rule.set);
      else if ('drop' in rule) {
        for (const key of Object.keys(labels)) if (glob?.test(key)) delete labels[key];
      } else if ('each' in rule) {
        const prefix = rule.each.slice('attribute.'.length);
        for (const [key, value] of Object.entries(item.attributes)) {
          if (key.startsWith(prefix) && key.length > prefix.length) {
            labels[rule.to + key.slice(prefix.length)] = value;
          }
        }
      } else {
        const found = factOf(rule.from, item, labels) ?? facts(rule.from);
        const value = typeof found === 'object' ? found[0] : found;
        if (rule.move && rule.from.startsWith('label.')) delete labels[rule.from.slice(6)];
        if (value !== undefined) labels[rule.to] = rule.values?.[value] ?? value;
      }
    }
    return this.#finish(item, labels);
  }

  #finish(item: Item, given: Readonly<Record<string, string>>): Mapped {
    const { namespace, namespaceLabels, platform, serviceAccount, site } = item;
    const words = JSON.stringify([
      given,
      platform,
      site,
      namespace,
      namespaceLabels,
      serviceAccount,
    ]);
    const known = this.#finished.get(words);
    if (known !== undefined) return known;
    const mapped = this.#labelled(item, given);
    if (this.#finished.size >= MAX_FINISHED) this.#finished.clear();
    this.#finished.set(words, mapped);
    return mapped;
  }

  #labelled(item: Item, given: Readonly<Record<string, string>>): Mapped {
    const warnings: string[] = [];
    const site = item.site ?? this.#options.site;
    const labels = valid(given, 'label', warnings);
    Object.assign(
      labels,
      valid(
        { [OWN_LABELS.platform]: item.platform, ...(site && { [OWN_LABELS.site]: site }) },
        'label',
        warnings,
      ),
    );
    const namespace = item.namespace ?? this.#options.namespace;
    const all = podLabels({
      cluster: this.#options.cluster,
      namespace,
      labels,
      namespaceLabels: valid(item.namespaceLabels, 'namespace label', warnings),
      serviceAccount: serviceAccount(item.serviceAccount, warnings),
    });
    const { identity, information } = this.#filter.split(all);
    for (const { key } of information) {
      warnings.push(`label ${key} makes no identity: the identity label rules leave it out`);
    }
    for (const key of Object.keys(labels)) {
      if (key.startsWith('io.cilium.k8s')) warnings.push(`label ${key} is reserved and left out`);
    }
    return { namespace, labels: identity, warnings: warnings.length === 0 ? NONE : warnings };
  }

  #facts(item: Item): (name: string) => string | readonly string[] | undefined {
    const { namespace, site, source } = this.#options;
    return (name) => {
      switch (name) {
        case 'source':
          return source;
        case 'namespace':
          return item.namespace ?? namespace;
        case 'site':
          return item.site ?? site;
        case 'address':
          return item.addresses;
        default:
          return factOf(name, item, item.labels);
      }
    };
  }
}

const MAX_FINISHED = 10_000;
const NONE: readonly string[] = Object.freeze([]);

interface Compiled {
  readonly rule: LabelRule;
  readonly when: Test | undefined;
  readonly glob: RegExp | undefined;
}

type Facts = (name: string) => string | readonly string[] | undefined;
type Test = (facts: Facts) => boolean;

function factOf(
  name: string,
  item: Item,
  labels: Readonly<Record<string, string>>,
): string | undefined {
  const dot = name.indexOf('.');
  if (dot >= 0) {
    const key = name.slice(dot + 1);
    const from = name.startsWith('label.')
      ? labels
      : name.startsWith('attribute.')
        ? item.attributes
        : item.namespaceLabels;
    return Object.hasOwn(from, key) ? from[key] : undefined;
  }
  switch (name) {
    case 'id':
      return item.id;
    case 'name':
      return item.name;
    case 'platform':
      return item.platform;
    case 'nodeAddress':
      return item.nodeAddress;
    case 'serviceAccount':
      return item.serviceAccount;
    default:
      return undefined;
  }
}

function testOf(condition: Condition): Test {
  const parts = Object.entries(condition).map(([name, wanted]) => ({
    name,
    globs: (typeof wanted === 'string' ? [wanted] : wanted).map(globOf),
  }));
  return (facts) =>
    parts.every(({ name, globs }) => {
      const value = facts(name);
      if (value === undefined) return false;
      const values = typeof value === 'string' ? [value] : value;
      return values.some((each) => globs.some((glob) => glob.test(each)));
    });
}

/** Runs of `*` are one, or a hostile pattern would take for ever. */
function globOf(glob: string): RegExp {
  const stars = glob.replaceAll(/\*+/g, '*');
  if (stars.split('*').length > 9) {
    throw new InventoryError('bad-rule', `${JSON.stringify(glob)} has more than eight "*"`, {
      value: glob,
    });
  }
  const source = stars.replaceAll(/[\\^$.+?()[\]{}|*]/g, (each) =>
    each === '*' ? '.*?' : each === '?' ? '.' : `\\${each}`,
  );
  return new RegExp(`^${source}$`, 's');
}

function valid(
  given: Readonly<Record<string, string>>,
  what: string,
  warnings: string[],
): Record<string, string> {
  const labels: Record<string, string> = {};
  for (const [key, value] of Object.entries(given)) {
    if (!isLabelKey(key)) {
      warnings.push(`${what} ${clip(key)} is left out: its name cannot be a label's`);
    } else if (!isLabelValue(value)) {
      warnings.push(`${what} ${key} is left out: ${clip(value)} cannot be a label's value`);
    } else labels[key] = value;
  }
  return labels;
}

function serviceAccount(given: string | undefined, warnings: string[]): string | undefined {
  if (given === undefined || isLabelValue(given)) return given;
  warnings.push(`serviceAccount is left out: ${clip(given)} cannot be a label's value`);
  return undefined;
}

const clip = (text: string): string =>
  JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}...` : text);
