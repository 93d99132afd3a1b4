import { Prefix } from '@causeway/ip';
import { speakerProtocol } from '@causeway/linux';
import { inParallel, type Lab, type LabFile, type NodePlan, until } from '../index.ts';

export const FAMILIES = ['ipv4', 'ipv6'] as const;
export type Family = (typeof FAMILIES)[number];

/** Far more than routes and sessions take on a busy machine. */
const SETTLE_MS = 20_000;

/** The same lab file with these pods and no others. */
export function withPods(
  file: LabFile,
  pods: readonly { readonly name: string; readonly node: string }[],
): LabFile {
  return {
    ...file,
    clusters: file.clusters.map((cluster) => ({
      ...cluster,
      pods: pods.map(({ name, node }) => ({
        name,
        node,
        namespace: 'default',
        labels: { app: name },
        annotations: {},
        statefulSet: false,
        runtime: 'netns',
        serve: [{ port: 80, type: 'http' }],
      })),
    })),
  };
}

export async function becomes(
  what: string,
  wanted: unknown,
  look: () => Promise<unknown>,
  timeoutMs = SETTLE_MS,
): Promise<void> {
  const text = JSON.stringify(wanted);
  await until(
    what,
    async () => {
      const seen = JSON.stringify(await look());
      return seen === text ? undefined : `${seen}, wanted ${text}`;
    },
    { timeoutMs },
  );
}

/** Whose an address of the plan is. */
export function ownerOf(lab: Lab, address: string): string {
  const place = lab.context.state.plan.places.find(({ devices }) =>
    devices.some((device) => device.addresses.some((each) => each.address === address)),
  );
  return place?.place ?? address;
}

/** Next hops of a prefix in a router's kernel by name, in order. */
export async function hops(lab: Lab, router: string, prefix: string): Promise<string[]> {
  const routes = await lab.router(router).routes(Prefix.family(Prefix.parse(prefix)));
  const found = routes.find((route) => route.prefix === prefix);
  return (found?.via ?? []).map((address) => ownerOf(lab, address)).sort();
}

/** Waits until routers forward prefixes by the next hops named, `router prefix` each. */
export async function routersForward(
  lab: Lab,
  wanted: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>>,
): Promise<void> {
  await inParallel(Object.entries(wanted), 4, ([router, prefixes]) =>
    becomes(`routes of ${router}`, prefixes, async () => {
      const routes = await inParallel(FAMILIES, 2, (family) => lab.router(router).routes(family));
      const known = new Map(routes.flat().map(({ prefix, via }) => [prefix, via]));
      const hopsOf = (prefix: string): string[] =>
        (known.get(prefix) ?? []).map((address) => ownerOf(lab, address)).sort();
      return Object.fromEntries(Object.keys(prefixes).map((prefix) => [prefix, hopsOf(prefix)]));
    }),
  );
}

/** The same next hops for each of a node's pod CIDRs. */
export function podsOf(
  lab: Lab,
  names: readonly string[],
  hops: (name: string) => readonly string[],
): Record<string, readonly string[]> {
  return Object.fromEntries(
    names.flatMap((name) => node(lab, name).podCIDRs.map((prefix) => [prefix, hops(name)])),
  );
}

export function node(lab: Lab, name: string): NodePlan {
  return lab.agent(name).node;
}

/** A node's own default route as its speaker installed it: the next hops by name, in order. */
export async function wayOut(lab: Lab, name: string, family: Family): Promise<string[]> {
  return learned(lab, name, 'default', family);
}

/** Next hops of what the node's speaker installed for a prefix, by name. */
export async function learned(
  lab: Lab,
  name: string,
  prefix: string,
  family: Family,
): Promise<string[]> {
  const argv = ['ip', '-j', family === 'ipv4' ? '-4' : '-6', 'route', 'show', prefix];
  const { stdout } = await lab.exec(name, [...argv, 'proto', String(speakerProtocol)]);
  const routes = JSON.parse(stdout || '[]') as {
    gateway?: string;
    nexthops?: { gateway?: string }[];
  }[];
  return routes
    .flatMap((route) => (route.nexthops ?? [route]).map(({ gateway }) => gateway ?? ''))
    .map((address) => ownerOf(lab, address))
    .sort();
}

/** Routes of a node's main table in both families. */
export async function tableOf(lab: Lab, name: string): Promise<string[]> {
  const lines: string[] = [];
  for (const family of ['-4', '-6']) {
    const { stdout } = await lab.exec(name, ['ip', family, '-o', 'route', 'show', 'table', 'main']);
    lines.push(...stdout.split('\n').filter((line) => line !== ''));
  }
  return lines;
}

/** Packets that left a place by each of its devices. */
export async function sentBy(lab: Lab, place: string): Promise<Record<string, number>> {
  const { stdout } = await lab.exec(place, ['ip', '-j', '-s', 'link']);
  const links = JSON.parse(stdout) as { ifname: string; stats64: { tx: { packets: number } } }[];
  return Object.fromEntries(links.map(({ ifname, stats64 }) => [ifname, stats64.tx.packets]));
}
