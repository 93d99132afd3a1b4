import { absolutePath } from '@causeway/daemon/fields';
import { Address } from '@causeway/ip';
import { z } from 'zod';

const rights = z.enum(['read', 'write']).default('read');
const name = z.string().min(1).max(63);

/** The HTTP API over TCP. Whoever asks says who he is, by a token or by a certificate. */
export const apiConfig = z
  .strictObject({
    address: z.string().refine((text) => Address.tryParse(text) !== undefined, {
      error: 'must be an address to listen on',
    }),
    port: z.int().min(0).max(65_535),
    tls: z
      .strictObject({
        certFile: absolutePath,
        keyFile: absolutePath,
        /** Who signs the certificates of clients; without it none is taken. */
        clientCaFile: absolutePath.optional(),
      })
      .optional(),
    tokens: z
      .array(
        z.strictObject({
          /** Who it is, for the log. */
          name,
          /** A file with the token and nothing else; read again when it changes. */
          tokenFile: absolutePath,
          rights,
        }),
      )
      .max(256)
      .default([]),
    clients: z
      .array(
        z.strictObject({
          /** The certificate's subject CN. */
          commonName: z.string().min(1).max(253),
          rights,
        }),
      )
      .max(256)
      .default([]),
  })
  .superRefine((config, context) => {
    const { tls, tokens, clients, address } = config;
    const fail = (path: string[], message: string, input?: unknown) =>
      context.addIssue({ code: 'custom', path, message, input });
    if (tokens.length === 0 && clients.length === 0) {
      fail(['tokens'], 'must name a token unless clients names a certificate: nobody could ask');
    }
    if (clients.length > 0 && tls?.clientCaFile === undefined) {
      fail(['tls', 'clientCaFile'], 'must be set for clients to be known by their certificates');
    }
    const parsed = Address.tryParse(address);
    if (tls === undefined && parsed !== undefined && !Address.isLoopback(parsed)) {
      fail(
        ['tls'],
        'must be set where the API is not on a loopback address: tokens would be read on the way',
        address,
      );
    }
  });

export type ApiConfig = z.infer<typeof apiConfig>;
