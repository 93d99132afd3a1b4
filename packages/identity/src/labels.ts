import { IdentityError } from './errors.ts';

/** One security label. `source` says who vouches for it (`k8s`, `reserved`, `cidr`, ...). */
export interface Label {
  readonly source: string;
  readonly key: string;
  readonly value: string;
}

/** Sources that Cilium 1.9 to 1.19 write. `any` stands only in selectors. */
export const LABEL_SOURCES = Object.freeze({
  any: 'any',
  k8s: 'k8s',
  reserved: 'reserved',
  cidr: 'cidr',
  cidrGroup: 'cidrgroup',
  unspec: 'unspec',
  container: 'container',
  fqdn: 'fqdn',
  node: 'node',
  cni: 'cni',
  directory: 'directory',
});

/** Keys with a meaning of their own (pkg/k8s/apis/cilium.io in Cilium 1.19). */
export const LABEL_KEYS = Object.freeze({
  podNamespace: 'io.kubernetes.pod.namespace',
  cluster: 'io.cilium.k8s.policy.cluster',
  serviceAccount: 'io.cilium.k8s.policy.serviceaccount',
  namespaceLabelPrefix: 'io.cilium.k8s.namespace.labels.',
  namespaceName: 'kubernetes.io/metadata.name',
});

/** Longest text of one label set that is taken; an etcd value of labels is a few hundred bytes. */
export const MAX_LABELS_TEXT = 64 * 1024;

/** The only way to a Label: refuses what could not be written to the store and read back. */
export function label(source: string, key: string, value = ''): Label {
  if (source === '' || /[:;=]/.test(source)) {
    throw new IdentityError(
      'bad-label',
      `label source ${JSON.stringify(source)} must be non-empty and free of ":", ";" and "="`,
      source,
    );
  }
  if (key === '' || /[;=]/.test(key)) {
    throw new IdentityError(
      'bad-label',
      `label key ${JSON.stringify(key)} must be non-empty and free of ";" and "="`,
      key,
    );
  }
  if (value.includes(';')) {
    throw new IdentityError(
      'bad-label',
      `value ${JSON.stringify(value)} of label ${source}:${key} must not contain ";"`,
      value,
    );
  }
  return { source, key, value };
}

/**
 * Reads a label as people write it: `k8s:app=web`, `app=web`, `reserved:host`. A colon after the
 * first `=` belongs to the value. Without a source it gets `defaultSource`.
 */
export function parseLabel(text: string, defaultSource: string = LABEL_SOURCES.unspec): Label {
  const equals = text.indexOf('=');
  const head = equals < 0 ? text : text.slice(0, equals);
  const value = equals < 0 ? '' : text.slice(equals + 1);
  const colon = head.indexOf(':');
  if (colon < 0) return label(defaultSource, head, value);
  return label(head.slice(0, colon), head.slice(colon + 1), value);
}

/** `source:key=value`; the `=` is left out when the value is empty, as Cilium prints labels. */
export function formatLabel({ source, key, value }: Label): string {
  return value === '' ? `${source}:${key}` : `${source}:${key}=${value}`;
}

/** Orders as UTF-8 bytes would, which UTF-16 comparison does not beyond the basic plane. */
export function compareBytes(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x === y) continue;
    const xSurrogate = x >= 0xd800 && x <= 0xdfff;
    const ySurrogate = y >= 0xd800 && y <= 0xdfff;
    // A surrogate half stands for a code point above every other 16-bit unit.
    if (xSurrogate !== ySurrogate) return xSurrogate ? 1 : -1;
    return x - y;
  }
  return a.length - b.length;
}

/**
 * An immutable set of labels, one per key, in the byte order of the keys. `text` is the store's
 * form and equal exactly when the sets are equal, so it serves as map key and as identity.
 */
export class LabelSet implements Iterable<Label> {
  static readonly empty = new LabelSet(new Map());

  readonly #byKey: ReadonlyMap<string, Label>;
  /** `k8s:app=web;k8s:io.kubernetes.pod.namespace=shop;`, the final `;` included. */
  readonly text: string;

  private constructor(byKey: ReadonlyMap<string, Label>) {
    this.#byKey = byKey;
    let text = '';
    for (const { source, key, value } of byKey.values()) text += `${source}:${key}=${value};`;
    this.text = text;
  }

  /** Of several labels with one key the last stays, whatever their sources. */
  static of(labels: Iterable<Label>): LabelSet {
    const byKey = new Map<string, Label>();
    for (const each of labels) byKey.set(each.key, each);
    const sorted = [...byKey.values()].sort((a, b) => compareBytes(a.key, b.key));
    return new LabelSet(new Map(sorted.map((each) => [each.key, each])));
  }

  /** Reads the store's form. Each part needs its source; an empty text is refused. */
  static parse(text: string): LabelSet {
    if (text.length > MAX_LABELS_TEXT) {
      throw new IdentityError(
        'bad-label',
        `label string of ${text.length} characters is longer than ${MAX_LABELS_TEXT}`,
        text.slice(0, 80),
      );
    }
    const labels: Label[] = [];
    for (const part of text.split(';')) {
      if (part === '') continue;
      const colon = part.indexOf(':');
      if (colon < 0) {
        throw new IdentityError(
          'bad-label',
          `label ${JSON.stringify(part)} has no source: expected source:key=value`,
          part,
        );
      }
      const rest = part.slice(colon + 1);
      const equals = rest.indexOf('=');
      labels.push(
        equals < 0
          ? label(part.slice(0, colon), rest)
          : label(part.slice(0, colon), rest.slice(0, equals), rest.slice(equals + 1)),
      );
    }
    if (labels.length === 0) {
      throw new IdentityError('bad-label', 'label string holds no label', text);
    }
    return LabelSet.of(labels);
  }

  get size(): number {
    return this.#byKey.size;
  }

  get(key: string): Label | undefined {
    return this.#byKey.get(key);
  }

  [Symbol.iterator](): Iterator<Label> {
    return this.#byKey.values();
  }

  equals(other: LabelSet): boolean {
    return this.text === other.text;
  }

  /** This set with more labels over it. */
  with(labels: Iterable<Label>): LabelSet {
    return LabelSet.of([...this, ...labels]);
  }

  /** Each label as people read it, in key order. */
  toStrings(): string[] {
    return [...this].map(formatLabel);
  }

  toJSON(): string[] {
    return this.toStrings();
  }
}
