import {
  type CompiledSelector,
  LABEL_SOURCES,
  type LabelSet,
  LabelSet as Labels,
  label,
} from '@causeway/identity';
import type { Prefix } from '@causeway/ip';
import { OVERFLOW_RULE } from './budget.ts';
import { type Compiler, LOCALHOST_RULE } from './compiler.ts';
import type { PolicyDiff, RuleRow } from './diff.ts';
import type { CidrGroup, Policy, PolicyRef } from './model.ts';
import { policyName, ruleName } from './model.ts';
import type { PolicySet } from './policy-set.ts';
import { PrefixCounts } from './prefix-counts.ts';
import {
  type GroupLabels,
  type InstalledRule,
  type InstalledSection,
  installRule,
  ruleRow,
  ruleSignature,
  type Subject,
} from './rules.ts';
import type { SelectorCache } from './selector-cache.ts';
import { StableIds } from './stable-ids.ts';

interface InstalledPolicy {
  readonly policy: Policy;
  /** By rule name, with the signature that tells whether an update changes the rule. */
  readonly rules: ReadonlyMap<string, { readonly rule: InstalledRule; readonly signature: string }>;
  readonly sections: readonly InstalledSection[];
}

interface KnownGroup {
  readonly group: CidrGroup;
  readonly labels: GroupLabels;
}

/** First number for rules; those below are Causeway's own. */
const FIRST_RULE_ID = 16;
const LAST_RULE_ID = 0x7fff_ffff;

/**
 * The policies and CIDR groups in force, by whom they are for. A change is compiled into the sets of
 * its subjects at once, rule by rule: what an update leaves as it was is not touched.
 */
export class RuleBook {
  readonly #cache: SelectorCache<InstalledRule>;
  readonly #compiler: Compiler;
  readonly #sets: () => Iterable<PolicySet>;
  readonly #policies = new Map<string, InstalledPolicy>();
  readonly #groups = new Map<string, KnownGroup>();
  readonly #subjects = new Map<string, Subject>();
  readonly #rules = new Map<number, InstalledRule>();
  readonly #ids = new StableIds(FIRST_RULE_ID, LAST_RULE_ID);
  readonly #sent = new Map<number, string>();
  readonly #touched = new Set<number>();
  readonly prefixes = new PrefixCounts();

  /** @param sets every set that a new subject may have to be matched with. */
  constructor(
    cache: SelectorCache<InstalledRule>,
    compiler: Compiler,
    sets: () => Iterable<PolicySet>,
  ) {
    this.#cache = cache;
    this.#compiler = compiler;
    this.#sets = sets;
  }

  setPolicy(policy: Policy): void {
    const key = policyName(policy);
    const old = this.#policies.get(key);
    const rules = new Map<string, { rule: InstalledRule; signature: string }>();
    const sections: InstalledSection[] = [];
    for (const section of policy.sections) {
      const subject = this.#subject(section.subject);
      const installed = { subject, audit: policy.audit, defaultDeny: section.defaultDeny };
      subject.sections.add(installed);
      sections.push(installed);
      for (const set of subject.sets) this.#compiler.section(set, installed, 1);
      for (const rule of section.rules) {
        const name = ruleName(rule.origin);
        const signature = ruleSignature(policy, subject.selector.key, rule);
        const before = old?.rules.get(name);
        if (before?.signature === signature) rules.set(name, before);
        else {
          const fresh = installRule(
            rule,
            policy.audit,
            { ruleId: this.#ids.take(name), subject, groups: this.#groups },
            this.#cache,
          );
          this.#install(fresh);
          rules.set(name, { rule: fresh, signature });
        }
      }
    }
    this.#policies.set(key, { policy, rules, sections });
    if (old === undefined) return;
    for (const [name, { rule }] of old.rules) {
      if (rules.get(name)?.rule === rule) continue;
      this.#uninstall(rule);
      if (!rules.has(name)) this.#forgetRule(rule);
    }
    this.#removeSections(old.sections);
  }

  deletePolicy(ref: PolicyRef): void {
    const key = policyName(ref);
    const old = this.#policies.get(key);
    if (old === undefined) return;
    this.#policies.delete(key);
    for (const { rule } of old.rules.values()) {
      this.#uninstall(rule);
      this.#forgetRule(rule);
    }
    this.#removeSections(old.sections);
  }

  *policies(): Generator<Policy> {
    for (const { policy } of this.#policies.values()) yield policy;
  }

  #install(rule: InstalledRule): void {
    rule.subject.rules.add(rule);
    this.#rules.set(rule.ruleId, rule);
    this.#touched.add(rule.ruleId);
    for (const prefix of rule.prefixes) this.prefixes.change(prefix, 1);
    for (const set of rule.subject.sets) this.#compiler.rule(set, rule, 1);
  }

  #uninstall(rule: InstalledRule): void {
    for (const set of rule.subject.sets) this.#compiler.rule(set, rule, -1);
    for (const node of rule.nodes) this.#cache.release(node, rule);
    for (const prefix of rule.prefixes) this.prefixes.change(prefix, -1);
    rule.subject.rules.delete(rule);
    this.#dropSubject(rule.subject);
  }

  #forgetRule(rule: InstalledRule): void {
    this.#rules.delete(rule.ruleId);
    this.#ids.release(rule.name);
    this.#touched.add(rule.ruleId);
  }

  #removeSections(sections: readonly InstalledSection[]): void {
    for (const section of sections) {
      for (const set of section.subject.sets) this.#compiler.section(set, section, -1);
      section.subject.sections.delete(section);
      this.#dropSubject(section.subject);
    }
  }

  #subject(selector: CompiledSelector): Subject {
    const known = this.#subjects.get(selector.key);
    if (known !== undefined) return known;
    const subject: Subject = { selector, rules: new Set(), sections: new Set(), sets: new Set() };
    for (const set of this.#sets()) {
      if (selector.matches(set.spec.labels)) subject.sets.add(set);
    }
    this.#subjects.set(selector.key, subject);
    return subject;
  }

  #dropSubject({ selector, rules, sections }: Subject): void {
    if (rules.size === 0 && sections.size === 0) this.#subjects.delete(selector.key);
  }

  setCidrGroup(group: CidrGroup): void {
    const labels = Labels.of(
      Object.entries(group.labels).map(([key, value]) =>
        label(LABEL_SOURCES.cidrGroup, key, value),
      ),
    );
    this.#groups.set(group.name, {
      group,
      labels: { matches: (selector) => selector.matches(labels) },
    });
    this.#reinstallGroupRules();
  }

  deleteCidrGroup(name: string): void {
    if (this.#groups.delete(name)) this.#reinstallGroupRules();
  }

  /** Rules that speak of groups are few; what a group does not change gives no write. */
  #reinstallGroupRules(): void {
    for (const [key, installed] of this.#policies) {
      const rules = new Map(installed.rules);
      for (const [name, { rule, signature }] of installed.rules) {
        if (!rule.rule.peers.some((peer) => peer.type === 'cidr-groups')) continue;
        const fresh = installRule(
          rule.rule,
          rule.audit,
          { ruleId: rule.ruleId, subject: rule.subject, groups: this.#groups },
          this.#cache,
        );
        this.#install(fresh);
        this.#uninstall(rule);
        rules.set(name, { rule: fresh, signature });
      }
      this.#policies.set(key, { ...installed, rules });
    }
  }

  /** Compiles all that selects the set's labels into it, and keeps it up to date from now on. */
  fill(set: PolicySet): void {
    this.#compiler.begin(set);
    for (const subject of this.#subjects.values()) {
      if (!subject.selector.matches(set.spec.labels)) continue;
      subject.sets.add(set);
      for (const section of subject.sections) this.#compiler.section(set, section, 1);
      for (const rule of subject.rules) this.#compiler.rule(set, rule, 1);
    }
  }

  /** Keeps it up to date no longer. */
  abandon(set: PolicySet): void {
    for (const subject of this.#subjects.values()) subject.sets.delete(set);
  }

  row(ruleId: number): RuleRow | undefined {
    for (const own of [LOCALHOST_RULE, OVERFLOW_RULE]) if (own.ruleId === ruleId) return { ...own };
    const rule = this.#rules.get(ruleId);
    return rule && ruleRow(rule);
  }

  *rows(): Generator<RuleRow> {
    for (const rule of this.#rules.values()) yield ruleRow(rule);
  }

  /** What changed in the table of rules since the last call. */
  takeChange(): PolicyDiff['rules'] {
    const added: RuleRow[] = [];
    const removed: number[] = [];
    for (const ruleId of this.#touched) {
      const rule = this.#rules.get(ruleId);
      const text = rule && `${rule.name} ${rule.deny} ${rule.audit}`;
      if (text === this.#sent.get(ruleId)) continue;
      if (rule === undefined) {
        this.#sent.delete(ruleId);
        removed.push(ruleId);
      } else {
        this.#sent.set(ruleId, text!);
        added.push(ruleRow(rule));
      }
    }
    this.#touched.clear();
    return { added, removed };
  }

  /** What applies to pods of these labels. */
  applicable(labels: LabelSet): Applicable {
    const found = [...this.#subjects.values()].filter((each) => each.selector.matches(labels));
    return {
      sections: found.flatMap((each) => [...each.sections]),
      rules: found.flatMap((each) => [...each.rules]),
    };
  }

  /** Runs `use` with what would apply after a change of policies, and leaves everything as it was. */
  suppose<T>(
    change: { readonly set: readonly Policy[]; readonly remove: readonly PolicyRef[] },
    use: (after: Supposition) => T,
  ): T {
    const gone = [...change.set, ...change.remove].flatMap(
      (ref) => this.#policies.get(policyName(ref)) ?? [],
    );
    const goneRules = new Set(
      gone.flatMap((each) => [...each.rules.values()].map(({ rule }) => rule)),
    );
    const goneSections = new Set(gone.flatMap((each) => each.sections));
    const newSections: InstalledSection[] = [];
    const newRules: InstalledRule[] = [];
    const newNames: string[] = [];
    try {
      for (const policy of change.set) {
        for (const { subject: selector, defaultDeny, rules } of policy.sections) {
          const subject: Subject = {
            selector,
            rules: new Set(),
            sections: new Set(),
            sets: new Set(),
          };
          newSections.push({ subject, audit: policy.audit, defaultDeny });
          for (const rule of rules) {
            const name = ruleName(rule.origin);
            if (this.#ids.get(name) === undefined) newNames.push(name);
            const at = { ruleId: this.#ids.take(name), subject, groups: this.#groups };
            newRules.push(installRule(rule, policy.audit, at, this.#cache));
          }
        }
      }
      const byId = new Map(newRules.map((each) => [each.ruleId, ruleRow(each)]));
      const of = <E extends { readonly subject: Subject }>(list: Iterable<E>, labels: LabelSet) =>
        [...list].filter((each) => each.subject.selector.matches(labels));
      return use({
        prefixes: [...new Set(newRules.flatMap((each) => each.prefixes))],
        rule: (ruleId) => byId.get(ruleId) ?? this.row(ruleId),
        changed: (labels) => ({
          sections: of([...goneSections, ...newSections], labels),
          rules: of([...goneRules, ...newRules], labels),
        }),
        applicable: (labels) => {
          const now = this.applicable(labels);
          return {
            sections: [
              ...now.sections.filter((each) => !goneSections.has(each)),
              ...of(newSections, labels),
            ],
            rules: [...now.rules.filter((each) => !goneRules.has(each)), ...of(newRules, labels)],
          };
        },
      });
    } finally {
      for (const rule of newRules) for (const node of rule.nodes) this.#cache.release(node, rule);
      for (const name of newNames) this.#ids.release(name);
    }
  }
}

/** The sections and rules that are for somebody. */
export interface Applicable {
  readonly sections: readonly InstalledSection[];
  readonly rules: readonly InstalledRule[];
}

/** How things would be. */
export interface Supposition {
  /** Prefixes that the change's rules speak of. */
  readonly prefixes: readonly Prefix[];
  rule(ruleId: number): RuleRow | undefined;
  /** What the change takes away from or gives to pods of these labels. */
  changed(labels: LabelSet): Applicable;
  /** What would apply to them. */
  applicable(labels: LabelSet): Applicable;
}
