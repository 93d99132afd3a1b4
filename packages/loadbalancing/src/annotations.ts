import type { Fields, Json } from './fields.ts';
import type { Algorithm, Forwarding, HealthCheck, MeshRules } from './model.ts';

/** Annotations of Services, Pods and EndpointSlices that say how they are balanced. */
export const ALGORITHM_ANNOTATION = 'service.cilium.io/lb-algorithm';
export const FORWARDING_ANNOTATION = 'service.cilium.io/forwarding-mode';
export const WEIGHT_ANNOTATION = 'causeway.io/weight';
export const HEALTH_CHECK_ANNOTATION = 'causeway.io/health-check';

/** Of global services. Each of Cilium's has an older name, which counts where the current one is not given. */
export const GLOBAL_ANNOTATION = 'service.cilium.io/global';
export const SHARED_ANNOTATION = 'service.cilium.io/shared';
export const AFFINITY_ANNOTATION = 'service.cilium.io/affinity';
export const PREFERENCE_ANNOTATION = 'causeway.io/cluster-preference';
export const SPILL_OVER_ANNOTATION = 'causeway.io/spill-over';
export const EXPECTED_ANNOTATION = 'causeway.io/expected-backends';

const OLDER: Readonly<Record<string, string>> = {
  [GLOBAL_ANNOTATION]: 'io.cilium/global-service',
  [SHARED_ANNOTATION]: 'io.cilium/shared-service',
  [AFFINITY_ANNOTATION]: 'io.cilium/service-affinity',
};

/** What a backend without the annotation weighs; half of it is half of the others' share. */
export const DEFAULT_WEIGHT = 100;

type Annotations = Readonly<Record<string, string>>;

const pathOf = (annotation: string): string => `metadata.annotations[${annotation}]`;

export function readAlgorithm(fields: Fields, annotations: Annotations): Algorithm | undefined {
  const algorithms: readonly Algorithm[] = ['random', 'maglev'];
  return fields.choice(annotations[ALGORITHM_ANNOTATION], pathOf(ALGORITHM_ANNOTATION), algorithms);
}

export function readForwarding(fields: Fields, annotations: Annotations): Forwarding | undefined {
  const modes: readonly Forwarding[] = ['snat', 'dsr'];
  return fields.choice(annotations[FORWARDING_ANNOTATION], pathOf(FORWARDING_ANNOTATION), modes);
}

export function readWeight(fields: Fields, annotations: Annotations): number | undefined {
  const text = annotations[WEIGHT_ANNOTATION];
  if (text === undefined) return undefined;
  return fields.integer(wholeNumber(text), pathOf(WEIGHT_ANNOTATION), 0, 100);
}

/**
 * `causeway.io/health-check: tcp` or `http:/path`, and beside it `-interval` and `-timeout` (`5s`, `500ms`), `-healthy`
 * and `-unhealthy` (tries in a row) and `-port`.
 */
export function readHealthCheck(fields: Fields, annotations: Annotations): HealthCheck | undefined {
  const what = annotations[HEALTH_CHECK_ANNOTATION];
  if (what === undefined || what === '') return undefined;
  const path = what.startsWith('http:') ? what.slice('http:'.length) : '';
  if (what !== 'tcp' && !HTTP_PATH.test(path)) {
    return fields.problem(pathOf(HEALTH_CHECK_ANNOTATION), 'must be tcp or http:/path', what);
  }
  const option = <T>(name: string, read: (value: string, at: string) => T | undefined) => {
    const annotation = `${HEALTH_CHECK_ANNOTATION}-${name}`;
    const value = annotations[annotation];
    return value === undefined ? undefined : read(value, pathOf(annotation));
  };
  const number = (name: string, most: number) =>
    option(name, (value, at) => fields.integer(wholeNumber(value), at, 1, most));
  const duration = (name: string, least: number, most: number) =>
    option(name, (value, at) => readDuration(fields, value, at, least, most));
  const intervalMs = duration('interval', 500, 300_000) ?? 5_000;
  const timeoutMs = duration('timeout', 50, 60_000) ?? Math.min(1_000, intervalMs);
  if (timeoutMs > intervalMs) {
    const at = pathOf(`${HEALTH_CHECK_ANNOTATION}-timeout`);
    return fields.problem(
      at,
      `must not be longer than the interval of ${intervalMs} ms`,
      timeoutMs,
    );
  }
  return {
    type: what === 'tcp' ? 'tcp' : 'http',
    path,
    port: number('port', 65_535),
    intervalMs,
    timeoutMs,
    healthyAfter: number('healthy', 10) ?? 2,
    unhealthyAfter: number('unhealthy', 10) ?? 3,
  };
}

export function readMeshRules(fields: Fields, annotations: Annotations): MeshRules {
  const global = isTrue(current(annotations, GLOBAL_ANNOTATION).text);
  const shared = current(annotations, SHARED_ANNOTATION).text;
  return {
    global,
    shared: global && (shared === undefined || isTrue(shared)),
    affinity: readAffinity(fields, annotations),
    preference: readPreference(fields, annotations),
    spillOver: readSpillOver(fields, annotations),
    expected: readExpected(fields, annotations),
  };
}

function current(annotations: Annotations, name: string) {
  const older = OLDER[name]!;
  const used = annotations[name] === undefined && annotations[older] !== undefined ? older : name;
  return { text: annotations[used], path: pathOf(used) };
}

/** Whatever is not "true" is false, in Cilium too. */
const isTrue = (text: string | undefined): boolean => text?.toLowerCase() === 'true';

/** `none` is what Cilium's documents write for leaving it off. */
function readAffinity(fields: Fields, annotations: Annotations): MeshRules['affinity'] {
  const { text, path } = current(annotations, AFFINITY_ANNOTATION);
  const choice = fields.choice(text?.toLowerCase(), path, ['local', 'remote', 'none']);
  return choice === 'none' ? undefined : choice;
}

const CLUSTER_NAME = /^(?=.{1,32}$)([a-z0-9][-a-z0-9]*)?[a-z0-9]$/;

function readPreference(fields: Fields, annotations: Annotations): readonly string[] {
  const text = annotations[PREFERENCE_ANNOTATION]?.trim();
  if (text === undefined || text === '') return [];
  const names = text.split(',').map((each) => each.trim());
  const wrong = names.find((each) => !CLUSTER_NAME.test(each));
  if (wrong === undefined && names.length <= 511) return [...new Set(names)];
  const at = pathOf(PREFERENCE_ANNOTATION);
  fields.problem(at, 'must be names of clusters such as east,west', wrong ?? names.length);
  return [];
}

function readSpillOver(fields: Fields, annotations: Annotations): number | undefined {
  const text = annotations[SPILL_OVER_ANNOTATION];
  if (text === undefined || text === '') return undefined;
  const percent = Number(/^(\d{1,3})%$/.exec(text)?.[1] ?? Number.NaN);
  if (percent >= 1 && percent <= 100) return percent / 100;
  return fields.problem(pathOf(SPILL_OVER_ANNOTATION), 'must be 1% to 100%', text);
}

function readExpected(fields: Fields, annotations: Annotations): number {
  const text = annotations[EXPECTED_ANNOTATION];
  if (text === undefined) return 0;
  return fields.integer(wholeNumber(text), pathOf(EXPECTED_ANNOTATION), 0, 1_000_000) ?? 0;
}

/** RFC 3986 path and query in visible ASCII: it goes into a request line as it stands. */
const HTTP_PATH = /^\/[\x21-\x7e]{0,1023}$/;

const UNITS: Json = { ms: 1, s: 1_000, m: 60_000 };

function readDuration(fields: Fields, text: string, at: string, least: number, most: number) {
  const [, digits, unit] = /^(\d{1,9})(ms|s|m)$/.exec(text) ?? [];
  const ms = digits === undefined ? Number.NaN : Number(digits) * (UNITS[unit!] as number);
  if (ms >= least && ms <= most) return ms;
  return fields.problem(at, `must be ${least}ms to ${most / 1000}s, such as 2s or 500ms`, text);
}

/** Otherwise the text, which no integer check takes. */
const wholeNumber = (text: string): unknown => (/^\d{1,9}$/.test(text) ? Number(text) : text);
