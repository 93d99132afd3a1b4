/**
 * Services by the thousand, for both sides of the comparison: as resources for Causeway, and as the
 * iptables rules that kube-proxy writes for the same services.
 */
import { execFileSync } from 'node:child_process';
import type { ResourceStore } from '@causeway/resources';

/** Addresses where nobody lives: the backends of services that are only there to be many. */
function crowdBackend(service: number, backend: number): string {
  const index = service * BACKENDS + backend;
  return `10.${200 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`;
}

export const BACKENDS = 10;

const PORTS = [
  { name: 'control', port: 5201 },
  { name: 'web', port: 8080 },
  { name: 'requests', port: 11111 },
  { name: 'qperf', port: 19765 },
  { name: 'data', port: 19766 },
];

/** The service that is measured: by selector, every port that the load generators use. */
export function targetService(clusterIPs: readonly string[]): unknown {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'target', namespace: 'default' },
    spec: {
      clusterIPs,
      clusterIP: clusterIPs[0],
      ipFamilyPolicy: 'PreferDualStack',
      selector: { app: 'server' },
      // The generators open several connections to one server: the second must meet the first.
      sessionAffinity: 'ClientIP',
      ports: [
        ...PORTS.map((port) => ({ ...port, protocol: 'TCP', targetPort: port.port })),
        { name: 'datagrams', port: 5201, protocol: 'UDP', targetPort: 5201 },
      ],
    },
  };
}

/** Adds services `from` to `to`, each of ten backends, with their slices. */
export async function applyCrowd(store: ResourceStore, from: number, to: number): Promise<void> {
  const chunk = 25;
  let next = from;
  const work = async () => {
    while (next < to) {
      const first = next;
      next += chunk;
      await store.apply(crowd(first, Math.min(to, first + chunk)));
    }
  };
  // Each write waits for the store's disk: several at once wait together.
  await Promise.all(Array.from({ length: 8 }, work));
}

function crowd(from: number, to: number): unknown[] {
  const objects: unknown[] = [];
  for (let index = from; index < to; index += 1) {
    const name = `crowd-${index}`;
    objects.push(
      {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name, namespace: 'default' },
        spec: { ports: [{ port: 80, protocol: 'TCP', targetPort: 8080 }] },
      },
      {
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: {
          name: `${name}-1`,
          namespace: 'default',
          labels: { 'kubernetes.io/service-name': name },
        },
        addressType: 'IPv4',
        ports: [{ port: 8080, protocol: 'TCP' }],
        endpoints: Array.from({ length: BACKENDS }, (_, backend) => ({
          addresses: [crowdBackend(index, backend)],
          conditions: { ready: true },
        })),
      },
    );
  }
  return objects;
}

/**
 * Loads kube-proxy's shape of rules into a namespace: one rule a service in KUBE-SERVICES, a chain a
 * service that picks by probability, a chain a backend that translates. The target service comes last, as
 * any one of many may.
 */
export function loadIptables(
  namespace: string,
  services: number,
  target: { readonly address: string; readonly backends: readonly string[] },
): void {
  const chains: string[] = [':KUBE-SERVICES - [0:0]', ':KUBE-MARK-MASQ - [0:0]'];
  const rules: string[] = ['-A PREROUTING -j KUBE-SERVICES', '-A OUTPUT -j KUBE-SERVICES'];
  const add = (name: string, address: string, port: number, backends: readonly string[]): void => {
    chains.push(`:KUBE-SVC-${name} - [0:0]`);
    rules.push(
      `-A KUBE-SERVICES -d ${address}/32 -p tcp -m tcp --dport ${port} -j KUBE-SVC-${name}`,
    );
    backends.forEach((backend, index) => {
      const chain = `KUBE-SEP-${name}-${index}`;
      chains.push(`:${chain} - [0:0]`);
      const left = backends.length - index;
      const chance =
        left > 1 ? ` -m statistic --mode random --probability ${(1 / left).toFixed(11)}` : '';
      rules.push(
        `-A KUBE-SVC-${name}${chance} -j ${chain}`,
        `-A ${chain} -s ${backend}/32 -j KUBE-MARK-MASQ`,
        `-A ${chain} -p tcp -m tcp -j DNAT --to-destination ${backend}:${port === 80 ? 8080 : port}`,
      );
    });
  };
  for (let index = 0; index < services - 1; index += 1) {
    const backends = Array.from({ length: BACKENDS }, (_, backend) => crowdBackend(index, backend));
    add(`C${index}`, `10.198.${index >> 8}.${index & 255}`, 80, backends);
  }
  for (const { name, port } of PORTS) add(`T${name}`, target.address, port, target.backends);
  rules.push('-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000');
  execFileSync('ip', ['netns', 'exec', namespace, 'iptables-legacy-restore'], {
    input: `*nat\n${chains.join('\n')}\n${rules.join('\n')}\nCOMMIT\n`,
    stdio: ['pipe', 'ignore', 'pipe'],
  });
}
