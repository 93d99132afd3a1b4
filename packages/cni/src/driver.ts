/**
 * The runtime's side of CNI: runs the plugins of a network list as section 3 of the specification says, whichever
 * plugins they are. The lab attaches bare namespaces with it; the tests hold plugins to the specification with it.
 * Starting the plugin is handed in, so that the caller decides in which namespaces it runs.
 */
import fs from 'node:fs';
import path from 'node:path';
import type { Attachment } from './config.ts';
import type { Command } from './environment.ts';
import { shown } from './errors.ts';
import {
  type NetworkList,
  type PluginConfig,
  parseNetworkList,
  RuntimeError,
} from './network-list.ts';
import { ResultCache } from './result-cache.ts';
import { rulesOf } from './versions.ts';

/** Starts a plugin, feeds it, and gives what it said. Rejects only if it cannot be started. */
export type PluginExec = (
  file: string,
  environment: Readonly<Record<string, string>>,
  stdin: string,
) => Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }>;

export interface CniRuntimeOptions {
  /** The network list, as parsed from JSON. */
  readonly list: unknown;
  /** Directories searched for plugins, the first first. */
  readonly pluginDirs: readonly string[];
  /** Where results are kept between ADD and DEL. */
  readonly cacheDir: string;
  readonly exec: PluginExec;
}

export interface AttachmentParameters extends Attachment {
  readonly netns: string;
  /** CNI_ARGS. */
  readonly args?: Readonly<Record<string, string>>;
  /** Given as `runtimeConfig` to the plugins that declare the capability. */
  readonly capabilityArgs?: Readonly<Record<string, unknown>>;
}

type Json = Readonly<Record<string, unknown>>;

export class CniRuntime {
  readonly list: NetworkList;
  readonly #pluginDirs: readonly string[];
  readonly #cache: ResultCache;
  readonly #exec: PluginExec;

  /** Throws RuntimeError `config-invalid`. */
  constructor(options: CniRuntimeOptions) {
    this.list = parseNetworkList(options.list);
    this.#pluginDirs = options.pluginDirs;
    this.#cache = new ResultCache(options.cacheDir);
    this.#exec = options.exec;
  }

  /** Attaches, and gives the final result. If a plugin fails, all are asked to delete before it is thrown. */
  async add(parameters: AttachmentParameters): Promise<Json> {
    let prevResult: Json | undefined;
    try {
      for (const plugin of this.list.plugins) {
        prevResult = result(plugin, await this.#run('ADD', plugin, parameters, prevResult));
      }
    } catch (error) {
      await this.del(parameters).catch(() => {});
      throw error;
    }
    const { containerId, ifname, netns, args = {}, capabilityArgs = {} } = parameters;
    const network = this.list.name;
    const last = prevResult as Json;
    this.#cache.write({ network, containerId, ifname, netns, args, capabilityArgs, result: last });
    return last;
  }

  /** Detaches, last plugin first. May be repeated. */
  async del(parameters: AttachmentParameters): Promise<void> {
    const cached = this.#cache.read(this.list.name, parameters);
    // prevResult came to DEL with 0.4.0.
    const prevResult = rulesOf(this.list.version).check ? cached?.result : undefined;
    for (const plugin of this.list.plugins.toReversed()) {
      await this.#run('DEL', plugin, { ...cached, ...parameters }, prevResult);
    }
    this.#cache.remove(this.list.name, parameters);
  }

  /** Throws what the first plugin throws that finds something wrong. */
  async check(parameters: AttachmentParameters): Promise<void> {
    if (this.list.disableCheck) return;
    const cached = this.#cache.read(this.list.name, parameters);
    if (cached === undefined) {
      throw new RuntimeError('cache-invalid', 'CHECK of an attachment that was not added', {
        value: parameters,
      });
    }
    for (const plugin of this.list.plugins) {
      await this.#run('CHECK', plugin, { ...cached, ...parameters }, cached.result);
    }
  }

  /** Deletes what is cached but not valid, then has the plugins collect; every error comes back, at the end. */
  async gc(valid: readonly Attachment[]): Promise<void> {
    if (this.list.disableGC) return;
    const key = ({ containerId, ifname }: Attachment) => `${containerId}/${ifname}`;
    const keep = new Set(valid.map(key));
    const errors: unknown[] = [];
    const tried = async (work: Promise<unknown>) => {
      await work.catch((error: unknown) => errors.push(error));
    };
    for (const cached of this.#cache.list(this.list.name)) {
      if (!keep.has(key(cached))) await tried(this.del(cached));
    }
    if (rulesOf(this.list.version).statusAndGc) {
      const attachments = valid.map((one) => ({
        containerID: one.containerId,
        ifname: one.ifname,
      }));
      for (const plugin of this.list.plugins) {
        const more = { 'cni.dev/valid-attachments': attachments };
        await tried(this.#run('GC', plugin, undefined, undefined, more));
      }
    }
    if (errors.length > 0) throw new AggregateError(errors, 'GC met errors');
  }

  /** Throws what the first plugin says that cannot take an ADD now. */
  async status(): Promise<void> {
    if (!rulesOf(this.list.version).statusAndGc) return;
    for (const plugin of this.list.plugins) await this.#run('STATUS', plugin);
  }

  /** The versions that each plugin of the list speaks. */
  async versions(): Promise<{ readonly type: string; readonly supported: readonly string[] }[]> {
    const all: { type: string; supported: readonly string[] }[] = [];
    for (const plugin of this.list.plugins) {
      const answer = result(plugin, await this.#run('VERSION', plugin));
      const supported = answer.supportedVersions;
      if (!Array.isArray(supported)) throw unusable(plugin, JSON.stringify(answer));
      all.push({ type: plugin.type, supported: supported.map(String) });
    }
    return all;
  }

  /** Attachments of this network that were added and not deleted. */
  attachments(): Attachment[] {
    return this.#cache
      .list(this.list.name)
      .map(({ containerId, ifname }) => ({ containerId, ifname }));
  }

  async #run(
    command: Command,
    plugin: PluginConfig,
    parameters?: AttachmentParameters,
    prevResult?: Json,
    more: Json = {},
  ): Promise<string> {
    const environment: Record<string, string> = {
      CNI_COMMAND: command,
      CNI_PATH: this.#pluginDirs.join(':'),
    };
    const request: Record<string, unknown> = {
      ...plugin.rest,
      type: plugin.type,
      cniVersion: this.list.version,
      name: this.list.name,
      ...more,
    };
    if (parameters !== undefined) {
      environment.CNI_CONTAINERID = parameters.containerId;
      environment.CNI_NETNS = parameters.netns;
      environment.CNI_IFNAME = parameters.ifname;
      const args = Object.entries(parameters.args ?? {});
      if (args.length > 0) {
        environment.CNI_ARGS = args.map(([key, value]) => `${key}=${value}`).join(';');
      }
      const given = Object.entries(parameters.capabilityArgs ?? {});
      const wanted = given.filter(([name]) => plugin.capabilities[name] === true);
      if (wanted.length > 0) request.runtimeConfig = Object.fromEntries(wanted);
      if (prevResult !== undefined) request.prevResult = prevResult;
    }
    const { code, stdout, stderr } = await this.#exec(
      this.#find(plugin),
      environment,
      JSON.stringify(request),
    );
    if (code === 0) return stdout;
    const said = json(stdout);
    const cni = {
      code: typeof said?.code === 'number' ? said.code : 0,
      msg: typeof said?.msg === 'string' ? said.msg : stderr.trim() || `exit status ${code}`,
      details: typeof said?.details === 'string' ? said.details : '',
    };
    const details = cni.details === '' ? '' : ` (${cni.details})`;
    throw new RuntimeError('plugin-failed', `${command} by ${plugin.type}: ${cni.msg}${details}`, {
      plugin: plugin.type,
      value: { code, stdout, stderr },
      cni,
    });
  }

  #find(plugin: PluginConfig): string {
    const files = this.#pluginDirs.map((directory) => path.join(directory, plugin.type));
    const found = files.find((file) => fs.existsSync(file));
    if (found !== undefined) return found;
    throw new RuntimeError('plugin-missing', `no plugin ${plugin.type} in ${this.#pluginDirs}`, {
      plugin: plugin.type,
      value: this.#pluginDirs,
    });
  }
}

function result(plugin: PluginConfig, stdout: string): Json {
  const value = json(stdout);
  if (value !== undefined) return value;
  throw unusable(plugin, stdout);
}

function unusable(plugin: PluginConfig, stdout: string): RuntimeError {
  const message = `${plugin.type} succeeded, but its answer is ${shown(stdout)}`;
  return new RuntimeError('plugin-output', message, { plugin: plugin.type, value: stdout });
}

function json(text: string): Json | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Json;
  } catch {
    // Undefined says it.
  }
  return undefined;
}
