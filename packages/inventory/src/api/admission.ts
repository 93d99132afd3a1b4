import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import type { Caller } from '@causeway/daemon';
import { InventoryError } from '../errors.ts';
import type { ApiConfig } from './config.ts';

type Rights = 'read' | 'write';

const MAX_TOKEN_BYTES = 4096;
const MIN_TOKEN = 16;

/** Decides who may ask what over TCP. Token files are looked at again with every question, and read when they changed. */
export class Admission {
  readonly #tokens: readonly { readonly file: TokenFile; readonly rights: Rights }[];
  readonly #clients: ReadonlyMap<string, Rights>;

  /** @throws InventoryError `unauthenticated` for a token file that holds no token. */
  constructor(config: ApiConfig) {
    this.#tokens = config.tokens.map(({ tokenFile, rights }) => ({
      file: new TokenFile(tokenFile),
      rights,
    }));
    for (const { file } of this.#tokens) file.check();
    this.#clients = new Map(config.clients.map(({ commonName, rights }) => [commonName, rights]));
  }

  /** @throws InventoryError `unauthenticated`, `forbidden`. */
  admit(caller: Caller): void {
    const rights = this.#rightsOf(caller);
    if (rights === undefined) {
      throw new InventoryError('unauthenticated', 'nobody is known by this token or certificate', {
        hint: 'send Authorization: Bearer TOKEN, or a client certificate, of one that api.tokens or api.clients names',
      });
    }
    if (caller.method === 'GET' || rights === 'write') return;
    throw new InventoryError('forbidden', `${caller.method} needs the right to write`, {
      field: 'rights',
      value: rights,
    });
  }

  #rightsOf({ authorization, commonName }: Caller): Rights | undefined {
    const given = /^Bearer +(\S+)$/i.exec(authorization ?? '')?.[1];
    let found: Rights | undefined =
      commonName === undefined ? undefined : this.#clients.get(commonName);
    if (given !== undefined && given.length <= MAX_TOKEN_BYTES) {
      const digest = digestOf(given);
      // All are compared, so that the time tells nothing.
      for (const { file, rights } of this.#tokens) {
        if (file.matches(digest) && found !== 'write') found = rights;
      }
    }
    return found;
  }
}

const digestOf = (text: string): Buffer => createHash('sha256').update(text).digest();

class TokenFile {
  readonly #path: string;
  #mark = '';
  #digest: Buffer | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  check(): void {
    this.#read();
    if (this.#digest !== undefined) return;
    throw new InventoryError(
      'unauthenticated',
      `${this.#path} holds no token: one line of at least ${MIN_TOKEN} characters without blanks`,
      { field: 'api.tokens.tokenFile', value: this.#path },
    );
  }

  matches(digest: Buffer): boolean {
    this.#read();
    return this.#digest !== undefined && timingSafeEqual(this.#digest, digest);
  }

  /** A file that cannot be read any more lets nobody in. */
  #read(): void {
    try {
      const { mtimeMs, ctimeMs, size, ino } = statSync(this.#path);
      const mark = `${size} ${mtimeMs} ${ctimeMs} ${ino}`;
      if (mark === this.#mark) return;
      const text = size > MAX_TOKEN_BYTES ? '' : readFileSync(this.#path, 'utf8').trim();
      this.#digest = text.length >= MIN_TOKEN && !/\s/.test(text) ? digestOf(text) : undefined;
      this.#mark = mark;
    } catch {
      this.#digest = undefined;
      this.#mark = '';
    }
  }
}
