/** Our side of an interop site: the real `causeway speaker` program, asked over its socket as an operator would. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ApiClient } from '@causeway/daemon';
import type { Namespace } from '../namespaces.ts';
import { DaemonProcess, eventually } from '../process.ts';

const PROGRAM = join(import.meta.dirname, '../../../cli/bin/causeway');

export interface OursStart {
  readonly name: string;
  readonly namespace: Namespace;
  readonly directory: string;
  /** A SpeakerConfig in its input form, put into the file. Absent: it comes over the API. */
  readonly config?: object;
}

export class OurRouter implements AsyncDisposable {
  readonly name: string;
  readonly client: ApiClient;
  readonly #start: OursStart;
  #process: DaemonProcess | undefined;
  #started = 0;

  constructor(start: OursStart) {
    this.name = start.name;
    this.#start = start;
    mkdirSync(start.directory, { recursive: true });
    this.client = new ApiClient('speaker', join(start.directory, 'speaker.sock'));
  }

  get process(): DaemonProcess {
    if (this.#process === undefined) throw new Error(`speaker ${this.name} was not started`);
    return this.#process;
  }

  /** Starts it; ready when its socket answers. A second start finds the state of the first. */
  async start(): Promise<void> {
    const { directory, namespace, config, name } = this.#start;
    const file = join(directory, 'speaker.json');
    writeFileSync(
      file,
      JSON.stringify({ runDir: directory, name, ...(config === undefined ? {} : { bgp: config }) }),
    );
    this.#started += 1;
    const process_ = new DaemonProcess({
      name: `speaker-${name}-${this.#started}`,
      namespace,
      directory,
      argv: [PROGRAM, 'speaker', '--config', file],
    });
    this.#process = process_;
    await eventually(
      `speaker ${name} answers`,
      async () => {
        if (process_.over) return true;
        await this.client.ask('GET', '/v1/status');
        return true;
      },
      20_000,
      () => process_.log,
    );
    if (process_.over) throw new Error(`speaker ${name} ended at its start: ${process_.log}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process?.stop('SIGKILL');
  }
}
