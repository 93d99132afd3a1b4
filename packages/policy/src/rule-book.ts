import { LABEL_SOURCES, LabelSet as Labels, label } from '@causeway/identity';
import type { Prefix } from '@causeway/ip';
import { OVERFLOW_RULE } from './budget.ts';
import { type Compiler, LOCALHOST_RULE } from './compiler.ts';
import type { PolicyDiff, RuleRow } from './diff.ts';
import type { CidrGroup, Policy, PolicyRef, SubjectLabels, SubjectSelector } from './model.ts';
import { binds, policyName, ruleName } from './model.ts';
import { NodeKeys } from './node-peers.ts';
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
  readonly nodeKeys = new NodeKeys();

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
        const signature = ruleSignature(policy, subjectKey(subject.who), rule);
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
    this.nodeKeys.change(rule.nodeKeys, 1);
    for (const set of rule.subject.sets) this.#compiler.rule(set, rule, 1);
  }

  #uninstall(rule: InstalledRule): void {
    for (const set of rule.subject.sets) this.#compiler.rule(set, rule, -1);
    for (const node of rule.nodes) this.#cache.release(node, rule);
    for (const prefix of rule.prefixes) this.prefixes.change(prefix, -1);
    this.nodeKeys.change(rule.nodeKeys, -1);
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

  #subject(who: SubjectSelector): Subject {
    const key = subjectKey(who);
    const known = this.#subjects.get(key);
    if (known !== undefined) return known;
    const subject: Subject = { who, rules: new Set(), sections: new Set(), sets: new Set() };
    for (const set of this.#sets()) {
      if (binds(who, set.spec)) subject.sets.add(set);
    }
    this.#subjects.set(key, subject);
    return subject;
  }

  #dropSubject({ who, rules, sections }: Subject): void {
    if (rules.size === 0 && sections.size === 0) this.#subjects.delete(subjectKey(who));
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

  /** Compiles all that is for the set's endpoints into it, and keeps it up to date from now on. */
  fill(set: PolicySet): void {
    this.#compiler.begin(set);
    for (const subject of this.#subjects.values()) {
      if (!binds(subject.who, set.spec)) continue;
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

  /** What applies to endpoints of these labels. */
  applicable(who: SubjectLabels): Applicable {
    const found = [...this.#subjects.values()].filter((each) => binds(each.who, who));
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
        for (const { subject: who, defaultDeny, rules } of policy.sections) {
          const subject: Subject = {
            who,
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
      const of = <E extends { readonly subject: Subject }>(list: Iterable<E>, who: SubjectLabels) =>
        [...list].filter((each) => binds(each.subject.who, who));
      return use({
        prefixes: [...new Set(newRules.flatMap((each) => each.prefixes))],
        nodeKeys: newRules.flatMap(({ nodeKeys }) => (nodeKeys ? [nodeKeys] : [])),
        rule: (ruleId) => byId.get(ruleId) ?? this.row(ruleId),
        changed: (who) => ({
          sections: of([...goneSections, ...newSections], who),
          rules: of([...goneRules, ...newRules], who),
        }),
        applicable: (who) => {
          const now = this.applicable(who);
          return {
            sections: [
              ...now.sections.filter((each) => !goneSections.has(each)),
              ...of(newSections, who),
            ],
            rules: [...now.rules.filter((each) => !goneRules.has(each)), ...of(newRules, who)],
          };
        },
      });
    } finally {
      for (const rule of newRules) for (const node of rule.nodes) this.#cache.release(node, rule);
      for (const name of newNames) this.#ids.release(name);
    }
  }
}

const subjectKey = ({ type, selector }: SubjectSelector): string =>
  type === 'endpoints' ? selector.key : `nodes ${selector.key}`;

/** The sections and rules that are for somebody. */
export interface Applicable {
  readonly sections: readonly InstalledSection[];
  readonly rules: readonly InstalledRule[];
}

/** How things would be. */
export interface Supposition {
  /** Prefixes that the change's rules speak of. */
  readonly prefixes: readonly Prefix[];
  /** What those among them that speak of nodes tell nodes apart by. */
  readonly nodeKeys: readonly ReadonlySet<string>[];
  rule(ruleId: number): RuleRow | undefined;
  /** What the change takes away from or gives to endpoints of these labels. */
  changed(who: SubjectLabels): Applicable;
  /** What would apply to them. */
  applicable(who: SubjectLabels): Applicable;
}
