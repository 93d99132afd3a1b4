/** Labs for benchmarks: brought up under a name of this process, taken down with their block. */
import { buildLab, destroyLab, type Lab, parseLabFile } from '@causeway/lab';
import type { Context } from './benchmark.ts';
import { takeAwayOnInterrupt } from './interrupt.ts';
import type { Place } from './traffic.ts';

export interface BenchLab extends AsyncDisposable {
  readonly lab: Lab;
  place(name: string): Place;
  /** The first address of a family of a pod, a host or a node. */
  address(name: string, family: 'ipv4' | 'ipv6'): Promise<string>;
}

/** Brings a lab up from its YAML text. */
export async function benchLab(name: string, text: string, log: Context['log']): Promise<BenchLab> {
  const own = `${name}-${process.pid}`;
  const file = parseLabFile(text, `${name}.yaml`);
  log(`bringing up lab ${own}`);
  const done = takeAwayOnInterrupt(async () => {
    await destroyLab(own);
  });
  const lab = await buildLab(
    { file, source: `${name}.yaml`, name: own },
    { name: own, progress: (line) => log(line) },
  );
  return {
    lab,
    place: (place) => lab.prefix(place),
    async address(place, family) {
      const node = lab.clusters
        .flatMap((cluster) => cluster.plan.nodes)
        .find((candidate) => candidate.name === place);
      const all: readonly string[] = node?.addresses ?? (await lab.addresses(place));
      const found = all.find((address) => address.includes(':') === (family === 'ipv6'));
      if (found === undefined) throw new Error(`${place} has no ${family} address`);
      return found;
    },
    async [Symbol.asyncDispose]() {
      await lab[Symbol.asyncDispose]();
      await destroyLab(own);
      done();
    },
  };
}

/** Two nodes on one rack, a client on the first and a server on the second; `pods` adds more. */
export function twoNodes(options: {
  readonly mode: 'native' | 'tunnel';
  /** 10 to 99: two digits, so that they are a part of an IPv4 and of an IPv6 address. */
  readonly net: number;
  readonly extra?: string;
}): string {
  const { net } = options;
  return `
racks: [{name: rack, ipv4: 192.168.${net}.0/24, ipv6: "fd${net}::/64"}]
clusters:
  - name: main
    id: 1
    routing: {mode: ${options.mode}}
    podCIDRs: {ipv4: 10.${net}.0.0/16, ipv6: "fd${net}:1::/48"}
    serviceCIDRs: [10.${net + 1}.0.0/16, "fd${net}:2::/112"]
    nodes: [{name: n1, rack: rack}, {name: n2, rack: rack}]
    pods:
      - {name: client, node: n1, labels: {app: client}}
      - {name: near, node: n1, labels: {app: near}}
      - {name: server, node: n2, labels: {app: server}}
${options.extra ?? ''}`;
}
