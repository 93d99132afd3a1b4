/** `causeway bmp` as a process in a namespace, asked over its socket as an operator would. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ApiClient } from '@causeway/daemon';
import { DaemonProcess, eventually, type Namespace } from '@causeway/speaker/testing';

const PROGRAM = join(import.meta.dirname, '../../cli/src/main.ts');

export class StationProcess implements AsyncDisposable {
  readonly client: ApiClient;
  readonly #namespace: Namespace;
  readonly #directory: string;
  #process: DaemonProcess | undefined;

  constructor(namespace: Namespace, directory: string) {
    this.#namespace = namespace;
    this.#directory = directory;
    mkdirSync(directory, { recursive: true });
    this.client = new ApiClient('BMP station', join(directory, 'bmp.sock'));
  }

  /** Again after `stop`: with the history that it left. */
  async start(config: object = {}): Promise<void> {
    const directory = this.#directory;
    const file = join(directory, 'station.json');
    // Ends of one event tell of it within a second or two: hold timers began with different keepalives.
    const faults = { gap: 3000 };
    writeFileSync(
      file,
      JSON.stringify({ runDir: directory, data: join(directory, 'data'), faults, ...config }),
    );
    const process_ = new DaemonProcess({
      name: 'station',
      namespace: this.#namespace,
      directory,
      argv: [process.execPath, PROGRAM, 'bmp', '--config', file],
    });
    this.#process = process_;
    await eventually(
      'the station answers',
      async () => {
        if (process_.over) return true;
        await this.get('/v1/status');
        return true;
      },
      60_000,
      () => process_.log,
    );
    if (process_.over) throw new Error(`the station ended at its start: ${process_.log}`);
  }

  get log(): string {
    return this.#process?.log ?? '';
  }

  get over(): boolean {
    return this.#process?.over ?? true;
  }

  async get<T>(path: string): Promise<T> {
    return (await this.client.ask('GET', path)) as T;
  }

  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    await this.#process?.stop(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process?.stop('SIGKILL');
  }
}
