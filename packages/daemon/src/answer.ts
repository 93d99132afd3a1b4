/** What a handler answers with: a text, or a stream that goes on until its reader or its writer ends it. */
export class Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly content: string | ReadableStream<Uint8Array>;

  constructor(
    content: string | ReadableStream<Uint8Array>,
    status = 200,
    headers: Readonly<Record<string, string>> = {},
  ) {
    this.content = content;
    this.status = status;
    this.headers = headers;
  }

  /** The whole of it. */
  async text(): Promise<string> {
    if (typeof this.content === 'string') return this.content;
    const decoder = new TextDecoder();
    let text = '';
    for await (const chunk of this.content) text += decoder.decode(chunk, { stream: true });
    return text + decoder.decode();
  }

  async json(): Promise<unknown> {
    return JSON.parse(await this.text());
  }

  /** Of a streamed answer. */
  get body(): ReadableStream<Uint8Array> | undefined {
    return typeof this.content === 'string' ? undefined : this.content;
  }
}
