import { Agent, request } from 'node:https';

export interface Created {
  readonly metadata: { readonly uid: string; readonly resourceVersion: string };
}

/** Writes to a Kubernetes API server as its administrator does, for tests. */
export class AdminClient {
  readonly #port: number;
  readonly #token: string;
  readonly #agent: Agent;

  constructor(port: number, ca: string, token: string) {
    this.#port = port;
    this.#token = token;
    this.#agent = new Agent({ ca, keepAlive: true, maxSockets: 16 });
  }

  async text(path: string): Promise<string> {
    return (await this.#ask('GET', path)).text;
  }

  async create(path: string, object: object): Promise<Created> {
    const { code, text } = await this.#ask('POST', path, 'application/json', object);
    if (code !== 201) throw new Error(`POST ${path}: ${code} ${text}`);
    return JSON.parse(text) as Created;
  }

  /** Undefined where there is no such object. */
  async merge(path: string, patch: object): Promise<Created | undefined> {
    const { code, text } = await this.#ask('PATCH', path, 'application/merge-patch+json', patch);
    if (code === 404) return undefined;
    if (code !== 200) throw new Error(`PATCH ${path}: ${code} ${text}`);
    return JSON.parse(text) as Created;
  }

  async remove(path: string): Promise<void> {
    const { code, text } = await this.#ask('DELETE', path);
    if (code >= 300 && code !== 404) throw new Error(`DELETE ${path}: ${code} ${text}`);
  }

  close(): void {
    this.#agent.destroy();
  }

  #ask(
    method: string,
    path: string,
    contentType?: string,
    body?: object,
  ): Promise<{ code: number; text: string }> {
    return new Promise((resolve, reject) => {
      const call = request(
        {
          ...{ host: '127.0.0.1', port: this.#port, path, method, agent: this.#agent },
          headers: {
            authorization: `Bearer ${this.#token}`,
            ...(contentType && { 'content-type': contentType }),
          },
        },
        async (answer) => {
          try {
            let text = '';
            for await (const chunk of answer.setEncoding('utf8')) text += String(chunk);
            resolve({ code: answer.statusCode ?? 0, text });
          } catch (error) {
            reject(error);
          }
        },
      );
      call.on('error', reject);
      call.end(body && JSON.stringify(body));
    });
  }
}
