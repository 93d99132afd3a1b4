import { BgpError } from '../errors.ts';

/** Throws BgpError `invalid-config`: where in the policies, what was found, what would do. */
export function refusePolicy(where: string, value: unknown, wanted: string): never {
  throw new BgpError(
    'invalid-config',
    `${where}: ${JSON.stringify(value) ?? String(value)} is not ${wanted}`,
    {
      value,
    },
  );
}
