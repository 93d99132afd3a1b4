import { shown } from './errors.ts';
import { type CniVersion, isSupported, SUPPORTED_VERSIONS } from './versions.ts';

export type RuntimeErrorCode =
  | 'config-invalid'
  | 'plugin-missing'
  | 'plugin-failed'
  | 'plugin-output'
  | 'cache-invalid';

/** A failure on the runtime's side of CNI. For `plugin-failed`, `cni` is what the plugin said. */
export class RuntimeError extends Error {
  readonly code: RuntimeErrorCode;
  readonly value: unknown;
  readonly plugin: string | undefined;
  readonly cni:
    | { readonly code: number; readonly msg: string; readonly details: string }
    | undefined;

  constructor(
    code: RuntimeErrorCode,
    message: string,
    about: { value?: unknown; plugin?: string; cni?: RuntimeError['cni']; cause?: unknown } = {},
  ) {
    super(message, about.cause === undefined ? undefined : { cause: about.cause });
    this.name = 'RuntimeError';
    this.code = code;
    this.value = about.value;
    this.plugin = about.plugin;
    this.cni = about.cni;
  }
}

export interface PluginConfig {
  readonly type: string;
  readonly capabilities: Readonly<Record<string, unknown>>;
  /** All other keys, unchanged. */
  readonly rest: Readonly<Record<string, unknown>>;
}

/** A network configuration list (`.conflist`), section 1 of the specification. */
export interface NetworkList {
  readonly version: CniVersion;
  readonly name: string;
  readonly disableCheck: boolean;
  readonly disableGC: boolean;
  readonly plugins: readonly PluginConfig[];
}

/** Throws RuntimeError `config-invalid` with the field. */
export function parseNetworkList(value: unknown): NetworkList {
  const raw = object('the network list', value);
  const { name, plugins, disableCheck = false, disableGC = false } = raw;
  if (typeof name !== 'string' || !/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(name)) {
    throw wrong('name', name);
  }
  if (typeof disableCheck !== 'boolean') throw wrong('disableCheck', disableCheck);
  if (typeof disableGC !== 'boolean') throw wrong('disableGC', disableGC);
  if (!Array.isArray(plugins) || plugins.length === 0) throw wrong('plugins', plugins);
  return {
    version: highestVersion(raw),
    name,
    disableCheck,
    disableGC,
    plugins: plugins.map((item: unknown, i) => {
      const { type, capabilities = {}, ...rest } = object(`plugins[${i}]`, item);
      if (typeof type !== 'string' || !/^[^/\\\0]+$/.test(type) || type.startsWith('.')) {
        throw wrong(`plugins[${i}].type`, type);
      }
      return { type, capabilities: object(`plugins[${i}].capabilities`, capabilities), rest };
    }),
  };
}

/** The highest version that the list offers and this runtime speaks ("Version considerations"). */
function highestVersion({ cniVersion, cniVersions = [] }: Record<string, unknown>): CniVersion {
  if (!Array.isArray(cniVersions)) throw wrong('cniVersions', cniVersions);
  const offered: unknown[] = [cniVersion, ...cniVersions];
  const best = SUPPORTED_VERSIONS.findLast((version) => offered.includes(version));
  if (best === undefined || !isSupported(best)) throw wrong('cniVersion', cniVersion);
  return best;
}

function object(field: string, value: unknown): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw wrong(field, value);
}

const wrong = (field: string, value: unknown) =>
  new RuntimeError('config-invalid', `${field} of the network list is ${shown(value)}`, { value });
