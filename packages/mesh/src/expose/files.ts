import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { FileLock } from '@causeway/linux';
import { type Credentials, inspectCertificate } from '@causeway/pki';
import { MeshError } from '../errors.ts';

/** Certificates are made anew when less than this part of their time is left. */
const RENEW_PART = 1 / 3;
const LOCK_MS = 30_000;
const LOCK_LOOK_MS = 20;

/** A directory of certificates and keys, `NAME.crt` beside `NAME.key`: whoever reads finds a whole file, old or new. */
export class CertificateFiles {
  readonly path: string;

  constructor(directory: string) {
    this.path = directory;
  }

  file(...parts: readonly string[]): string {
    return path.join(this.path, ...parts);
  }

  makeDirectory(...parts: readonly string[]): void {
    mkdirSync(this.file(...parts), { recursive: true, mode: 0o700 });
  }

  remove(name: string): void {
    rmSync(this.file(name), { recursive: true, force: true });
  }

  read(name: string): string | undefined {
    try {
      return readFileSync(this.file(name), 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** Throws MeshError `not-exposed` if it is not there. */
  text(name: string): string {
    const text = this.read(name);
    if (text !== undefined) return text;
    throw new MeshError(
      'not-exposed',
      `${this.file(name)} is missing: run "causeway mesh expose"`,
      name,
    );
  }

  credentials(name: string): Credentials {
    return { certificate: this.text(`${name}.crt`), key: this.text(`${name}.key`) };
  }

  /** Whether both files are there and have enough of their time left. */
  isFresh(name: string, now: Date): boolean {
    const text = this.read(`${name}.crt`);
    if (text === undefined || this.read(`${name}.key`) === undefined) return false;
    const { notBefore, notAfter } = inspectCertificate(text);
    const whole = notAfter.getTime() - notBefore.getTime();
    return notAfter.getTime() - now.getTime() > whole * RENEW_PART;
  }

  write(name: string, text: string): void {
    const file = this.file(name);
    const mode = /\.(key|json)$/.test(name) ? 0o600 : 0o644;
    writeFileSync(`${file}.new`, text, { mode });
    renameSync(`${file}.new`, file);
  }

  writeCredentials(name: string, { certificate, key }: Credentials): void {
    this.write(`${name}.key`, key);
    this.write(`${name}.crt`, certificate);
  }

  /** Programs change a directory for as long as signing takes, so that whoever comes meanwhile waits. Throws MeshError `in-use`. */
  async lock(): Promise<Disposable> {
    const file = this.file('lock');
    for (let waited = 0; waited < LOCK_MS; waited += LOCK_LOOK_MS) {
      const lock = FileLock.tryAcquire(file);
      if (lock !== undefined) return lock;
      await sleep(LOCK_LOOK_MS);
    }
    throw new MeshError(
      'in-use',
      `another program changes ${this.path}: process ${FileLock.holder(file) ?? 'unknown'}`,
      this.path,
    );
  }
}
