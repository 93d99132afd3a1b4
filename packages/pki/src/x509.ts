import type * as X509 from '@peculiar/x509';

export type { X509 };

/**
 * The X.509 library, behind the polyfill that its dependency injection needs first. Loaded when something is to be
 * signed: programs on every node only look at certificates, and should not hold it in memory.
 */
export async function loadX509(): Promise<typeof X509> {
  await import('reflect-metadata');
  return import('@peculiar/x509');
}
