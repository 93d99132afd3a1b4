import { readFileSync } from 'node:fs';
import os from 'node:os';
import { parseDocument } from 'yaml';
import type { z } from 'zod';
import { valueAt } from '../api/schemas.ts';
import { AgentError } from '../errors.ts';
import { type AgentConfig, configSchema } from './schema.ts';
import { suggest } from './suggest.ts';

/** A configuration of a few kilobytes is large; more is a wrong file. */
const MAX_CONFIG_BYTES = 1_048_576;

/** @throws AgentError `bad-config`, naming every bad field, its value and what is allowed there. */
export function loadAgentConfig(file: string): AgentConfig {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    throw new AgentError('bad-config', `cannot read the configuration file ${file}`, {
      field: '--config',
      value: file,
      hint: 'give the path of a readable YAML file',
      cause,
    });
  }
  return parseAgentConfig(text, file);
}

export function parseAgentConfig(text: string, source = 'configuration'): AgentConfig {
  if (text.length > MAX_CONFIG_BYTES) {
    throw new AgentError('bad-config', `${source} is larger than ${MAX_CONFIG_BYTES} bytes`, {
      value: text.length,
    });
  }
  const document = parseDocument(text);
  const problem = document.errors[0];
  if (problem !== undefined) {
    throw new AgentError('bad-config', `${source} is not YAML: ${problem.message}`, {
      cause: problem,
    });
  }
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 100 });
  } catch (cause) {
    throw new AgentError('bad-config', `${source} cannot be read as YAML`, { cause });
  }
  return checkAgentConfig(value ?? {}, source);
}

export function checkAgentConfig(value: unknown, source = 'configuration'): AgentConfig {
  const result = configSchema.safeParse(value);
  if (!result.success) throw refusal(result.error, value, source);
  const config = result.data;
  const name = config.node.name ?? os.hostname().toLowerCase();
  const full: AgentConfig = { ...config, node: { ...config.node, name } };
  checkTogether(full, source);
  return full;
}

/** What no single field can know. */
function checkTogether(config: AgentConfig, source: string): void {
  const refuse = (field: string, bad: unknown, message: string): never => {
    throw new AgentError('bad-config', `${source}: ${field} ${message}`, { field, value: bad });
  };
  const { cluster, families } = config;
  if (cluster.id > cluster.maxConnectedClusters) {
    refuse(
      'cluster.id',
      cluster.id,
      `must be at most cluster.maxConnectedClusters (${cluster.maxConnectedClusters})`,
    );
  }
  if (cluster.id !== 0 && cluster.name === 'default') {
    refuse('cluster.name', cluster.name, 'must not be "default" when cluster.id is not 0');
  }
  if (config.socketLB.enabled && !config.socketLB.pods) {
    refuse(
      'socketLB.pods',
      false,
      'cannot be false while socketLB.enabled is true: the hooks see pods and node alike; set socketLB.enabled to false for translation per packet',
    );
  }
  for (const [field, list] of [
    ['nativeRoutingCIDRs', config.nativeRoutingCIDRs],
    ['masquerade.exceptions', config.masquerade.exceptions],
    ['serviceCIDRs', config.serviceCIDRs],
  ] as const) {
    list.forEach((cidr, index) => {
      const family = cidr.includes(':') ? 'ipv6' : 'ipv4';
      if (!families.includes(family)) {
        refuse(`${field}.${index}`, cidr, `is of family ${family}, which families does not name`);
      }
    });
  }
  if (
    config.etcd.tls !== undefined &&
    (config.etcd.tls.certFile === undefined) !== (config.etcd.tls.keyFile === undefined)
  ) {
    refuse('etcd.tls', config.etcd.tls, 'must have certFile and keyFile together or neither');
  }
}

function refusal(error: z.ZodError, value: unknown, source: string): AgentError {
  const lines: string[] = [];
  let first: { field: string; value: unknown; hint: string | undefined } | undefined;
  for (const issue of error.issues.slice(0, 20)) {
    for (const { field, bad, text, hint } of explain(issue, value)) {
      first ??= { field, value: bad, hint };
      lines.push(`${field}: ${text}${hint === undefined ? '' : `; ${hint}`}`);
    }
  }
  return new AgentError('bad-config', `${source}: ${lines.join('\n  ')}`, {
    ...(first === undefined ? {} : { field: first.field, value: first.value }),
    ...(first?.hint === undefined ? {} : { hint: first.hint }),
  });
}

interface Explained {
  field: string;
  bad: unknown;
  text: string;
  hint: string | undefined;
}

function explain(issue: z.core.$ZodIssue, root: unknown): Explained[] {
  const at = issue.path.map(String).join('.');
  if (issue.code === 'unrecognized_keys') {
    const known = knownKeys(issue.path);
    return issue.keys.map((key) => {
      const nearest = suggest(key, known);
      return {
        field: at === '' ? key : `${at}.${key}`,
        bad: valueAt(root, [...issue.path, key]),
        text: 'no such setting',
        hint:
          nearest === undefined ? `known here: ${known.join(', ')}` : `did you mean ${nearest}?`,
      };
    });
  }
  const bad = valueAt(root, issue.path);
  return [
    {
      field: at || '(file)',
      bad,
      text: `${show(bad)} is refused: ${allowed(issue)}`,
      hint: undefined,
    },
  ];
}

function allowed(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_value')
    return `must be one of ${issue.values.map(String).join(', ')}`;
  if (issue.code === 'invalid_union') return 'must be one of 255, 511';
  return issue.message;
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > 80 ? `${text.slice(0, 80)}...` : text;
}

/** The keys of the object schema at a path, seen through defaults and optionals. */
function knownKeys(path: readonly PropertyKey[]): string[] {
  let current: unknown = configSchema;
  for (const part of ['', ...path]) {
    if (part !== '') current = shapeOf(current)?.[String(part)];
  }
  return Object.keys(shapeOf(current) ?? {});
}

function shapeOf(schema: unknown): Record<string, unknown> | undefined {
  let current = schema as { shape?: Record<string, unknown>; unwrap?: () => unknown } | undefined;
  for (let depth = 0; depth < 5 && current !== undefined; depth++) {
    if (current.shape !== undefined) return current.shape;
    current = current.unwrap?.() as typeof current;
  }
  return undefined;
}
