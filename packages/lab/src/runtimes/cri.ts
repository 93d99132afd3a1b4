import { join } from 'node:path';
import { type Client, credentials, loadPackageDefinition, type ServiceError } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { LabError } from '../errors.ts';

/** A pod as a kubelet names it to the runtime. */
export interface SandboxSpec {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** Cgroup under which the runtime puts its own; the runtime's default if missing. */
  readonly cgroupParent?: string;
  readonly labels?: Readonly<Record<string, string>>;
}

export interface ContainerSpec {
  readonly name: string;
  readonly image: string;
  readonly command?: readonly string[];
}

export interface ExecResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

type Call = (
  request: object,
  options: { deadline: number },
  callback: (error: ServiceError | null, answer: unknown) => void,
) => void;

const DEADLINE_MS = 60_000;

/** A client of a container runtime's CRI socket: what a kubelet asks of it, as far as networks are concerned. */
export class CriClient implements Disposable {
  readonly #runtime: Client;
  readonly #images: Client;

  constructor(socketPath: string) {
    const definition = loadSync(join(import.meta.dirname, 'cri.proto'), {
      keepCase: true,
      longs: Number,
      enums: String,
      defaults: true,
    });
    const services = loadPackageDefinition(definition) as unknown as {
      runtime: {
        v1: Record<'RuntimeService' | 'ImageService', new (...args: unknown[]) => Client>;
      };
    };
    // The authority of a Unix socket's address is its path, which HTTP/2 servers refuse.
    const options = { 'grpc.default_authority': 'localhost' };
    const { RuntimeService, ImageService } = services.runtime.v1;
    this.#runtime = new RuntimeService(`unix:${socketPath}`, credentials.createInsecure(), options);
    this.#images = new ImageService(`unix:${socketPath}`, credentials.createInsecure(), options);
  }

  [Symbol.dispose](): void {
    this.#runtime.close();
    this.#images.close();
  }

  async version(): Promise<string> {
    const answer = (await this.#call('Version', {})) as Record<string, string>;
    return `${answer.runtime_name} ${answer.runtime_version}`;
  }

  /** What the runtime says keeps it from running pods; nothing if it is ready. */
  async whyNotReady(): Promise<string | undefined> {
    const { status } = (await this.#call('Status', {})) as {
      status: { conditions: { type: string; status: boolean; message: string }[] };
    };
    const bad = status.conditions.filter((condition) => !condition.status);
    if (bad.length === 0) return undefined;
    return bad.map(({ type, message }) => `not ${type}: ${message}`).join('; ');
  }

  async hasImage(image: string): Promise<boolean> {
    const answer = await this.#call('ImageStatus', { image: { image } }, this.#images);
    return Boolean((answer as { image?: unknown }).image);
  }

  /** Starts a sandbox, with its network, and gives its id. */
  async runSandbox(spec: SandboxSpec): Promise<string> {
    const answer = await this.#call('RunPodSandbox', { config: sandboxConfig(spec) });
    return (answer as { pod_sandbox_id: string }).pod_sandbox_id;
  }

  /** The addresses that the runtime took from the CNI result, the first one first. */
  async sandboxAddresses(id: string): Promise<string[]> {
    const { status } = (await this.#call('PodSandboxStatus', { pod_sandbox_id: id })) as {
      status: { network?: { ip: string; additional_ips: { ip: string }[] } };
    };
    const network = status.network;
    if (network === undefined || network === null) return [];
    return [network.ip, ...network.additional_ips.map(({ ip }) => ip)].filter((ip) => ip !== '');
  }

  async listSandboxes(): Promise<string[]> {
    const { items } = (await this.#call('ListPodSandbox', {})) as { items: { id: string }[] };
    return items.map(({ id }) => id);
  }

  /** Creates and starts a container in the sandbox. */
  async startContainer(
    sandbox: string,
    spec: SandboxSpec,
    container: ContainerSpec,
  ): Promise<string> {
    const { container_id } = (await this.#call('CreateContainer', {
      pod_sandbox_id: sandbox,
      sandbox_config: sandboxConfig(spec),
      config: {
        metadata: { name: container.name, attempt: 0 },
        image: { image: container.image },
        ...(container.command === undefined ? {} : { command: container.command }),
      },
    })) as { container_id: string };
    await this.#call('StartContainer', { container_id });
    return container_id;
  }

  async exec(container: string, cmd: readonly string[], timeoutSeconds = 30): Promise<ExecResult> {
    const request = { container_id: container, cmd, timeout: timeoutSeconds };
    const answer = (await this.#call('ExecSync', request)) as {
      stdout: Buffer;
      stderr: Buffer;
      exit_code: number;
    };
    return {
      code: answer.exit_code,
      stdout: answer.stdout.toString(),
      stderr: answer.stderr.toString(),
    };
  }

  /** Takes the network away and ends what runs in the sandbox. */
  async stopSandbox(id: string): Promise<void> {
    await this.#call('StopPodSandbox', { pod_sandbox_id: id });
  }

  async removeSandbox(id: string): Promise<void> {
    await this.#call('RemovePodSandbox', { pod_sandbox_id: id });
  }

  #call(method: string, request: object, client: Client = this.#runtime): Promise<unknown> {
    const call = (client as unknown as Record<string, Call>)[method]!.bind(client);
    return new Promise((resolve, reject) => {
      call(request, { deadline: Date.now() + DEADLINE_MS }, (error, answer) => {
        if (error === null) resolve(answer);
        else {
          const message = `the container runtime refused ${method}: ${error.details}`;
          reject(new LabError('command-failed', message, { value: request, cause: error }));
        }
      });
    });
  }
}

function sandboxConfig({ namespace, name, uid, cgroupParent, labels = {} }: SandboxSpec): object {
  return {
    metadata: { namespace, name, uid, attempt: 0 },
    hostname: name,
    labels,
    linux: cgroupParent === undefined ? {} : { cgroup_parent: cgroupParent },
  };
}
