import * as z from 'zod';
import { maybe, open, text } from './build.ts';
import {
  cidr,
  dns1035Label,
  dnsLabel,
  dnsSubdomain,
  ipAddress,
  labelKey,
  labelValue,
  metadata,
  port,
  portName,
  protocol,
} from './common.ts';

const ipFamily = z.enum(['IPv4', 'IPv6']);

const servicePort = open({
  name: maybe(text((v) => v === '' || dnsLabel.safeParse(v).success, 'a DNS label or empty')),
  protocol: protocol.default('TCP'),
  port,
  targetPort: maybe(z.union([port, portName], { error: 'must be a port number or a port name' })),
  nodePort: maybe(z.int().min(0).max(65535)),
  appProtocol: maybe(z.string()),
});

const serviceSpec = open({
  type: z.enum(['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName']).default('ClusterIP'),
  selector: maybe(z.record(labelKey, labelValue)),
  ports: maybe(z.array(servicePort).max(250)),
  clusterIP: maybe(text(isClusterIp, 'an IP address, "None", or empty')),
  clusterIPs: maybe(z.array(text(isClusterIp, 'an IP address or "None"')).max(2)),
  ipFamilies: maybe(z.array(ipFamily).max(2)),
  ipFamilyPolicy: maybe(z.enum(['SingleStack', 'PreferDualStack', 'RequireDualStack'])),
  sessionAffinity: z.enum(['None', 'ClientIP']).default('None'),
  sessionAffinityConfig: maybe(
    open({ clientIP: maybe(open({ timeoutSeconds: maybe(z.int().min(1).max(86400)) })) }),
  ),
  publishNotReadyAddresses: maybe(z.boolean()),
  internalTrafficPolicy: maybe(z.enum(['Cluster', 'Local'])),
  externalTrafficPolicy: maybe(z.enum(['Cluster', 'Local'])),
  externalIPs: maybe(z.array(ipAddress)),
  loadBalancerIP: maybe(z.string()),
  loadBalancerClass: maybe(z.string()),
  loadBalancerSourceRanges: maybe(
    z.array(text((v) => cidr.safeParse(v.trim()).success, 'a CIDR such as 192.0.2.0/24')).max(1024),
  ),
  allocateLoadBalancerNodePorts: maybe(z.boolean()),
  healthCheckNodePort: maybe(z.int().min(0).max(65535)),
  externalName: maybe(dnsSubdomain),
  trafficDistribution: maybe(z.string()),
}).superRefine((spec, context) => {
  const fail = (path: (string | number)[], message: string, input: unknown): void =>
    context.addIssue({ code: 'custom', path, message, input });
  const headless = spec.clusterIP === 'None' || spec.clusterIPs?.[0] === 'None';
  const ports = spec.ports ?? [];
  if (ports.length === 0 && !headless && spec.type !== 'ExternalName') {
    fail(['ports'], 'must hold at least one port', spec.ports);
  }
  const names = new Set<string>();
  const numbers = new Set<string>();
  ports.forEach((each, index) => {
    if (ports.length > 1 && !each.name) {
      fail(['ports', index, 'name'], 'must be set when there is more than one port', undefined);
    }
    if (each.name && names.has(each.name)) {
      fail(['ports', index, 'name'], 'must be unique among the ports', each.name);
    }
    const number = `${each.port}/${each.protocol}`;
    if (numbers.has(number)) {
      fail(['ports', index, 'port'], `${number} must not stand twice among the ports`, each.port);
    }
    if (each.name) names.add(each.name);
    numbers.add(number);
  });
  const [first, second] = spec.clusterIPs ?? [];
  if (spec.clusterIP && first !== undefined && spec.clusterIP !== first) {
    fail(['clusterIPs', 0], `must equal spec.clusterIP ${spec.clusterIP}`, first);
  }
  if (second !== undefined && (first === 'None' || second === 'None')) {
    fail(['clusterIPs', 1], 'must be absent when the Service is headless', second);
  }
  if (first && second && first !== 'None' && first.includes(':') === second.includes(':')) {
    fail(['clusterIPs', 1], 'must be of the other IP family', second);
  }
  const families = spec.ipFamilies ?? [];
  if (families.length === 2 && families[0] === families[1]) {
    fail(['ipFamilies', 1], 'must differ from the first', families[1]);
  }
  const ips = spec.clusterIPs ?? (spec.clusterIP ? [spec.clusterIP] : []);
  ips.forEach((ip, index) => {
    const wanted = families[index];
    if (ip === 'None' || ip === '' || wanted === undefined) return;
    if ((wanted === 'IPv6') !== ip.includes(':')) {
      fail(['ipFamilies', index], `must be the family of address ${ip}`, wanted);
    }
  });
  if (spec.ipFamilyPolicy === 'SingleStack' && (families.length > 1 || ips.length > 1)) {
    fail(['ipFamilyPolicy'], 'must not be SingleStack with two families', spec.ipFamilyPolicy);
  }
  if (spec.type === 'ExternalName') {
    if (spec.externalName === undefined) fail(['externalName'], 'must be set', undefined);
    if (ips.some((ip) => ip !== ''))
      fail(['clusterIP'], 'must be absent with ExternalName', ips[0]);
  }
  if (spec.sessionAffinity === 'None' && spec.sessionAffinityConfig?.clientIP !== undefined) {
    fail(['sessionAffinityConfig'], 'must be absent with sessionAffinity None', undefined);
  }
});

function isClusterIp(value: string): boolean {
  return value === '' || value === 'None' || ipAddress.safeParse(value).success;
}

export const service = open({
  apiVersion: z.literal('v1'),
  kind: z.literal('Service'),
  metadata: metadata(dns1035Label, true),
  spec: serviceSpec,
  status: maybe(
    open({
      loadBalancer: maybe(
        open({
          ingress: maybe(
            z.array(
              open({
                ip: maybe(z.string()),
                hostname: maybe(z.string()),
                ipMode: maybe(z.enum(['VIP', 'Proxy'])),
              }),
            ),
          ),
        }),
      ),
      conditions: maybe(
        z.array(
          open({
            type: z.string(),
            status: z.enum(['True', 'False', 'Unknown']),
            reason: maybe(z.string()),
            message: maybe(z.string()),
          }),
        ),
      ),
    }),
  ),
}).meta({ description: 'A service: one or two cluster IPs in front of the pods that it selects.' });

/** The label that ties a slice to its Service (Kubernetes: discovery/v1). */
export const SERVICE_NAME_LABEL = 'kubernetes.io/service-name';
export const MANAGED_BY_LABEL = 'endpointslice.kubernetes.io/managed-by';

export const endpointSlice = open({
  apiVersion: z.literal('discovery.k8s.io/v1'),
  kind: z.literal('EndpointSlice'),
  metadata: metadata(dnsSubdomain, true),
  addressType: z.enum(['IPv4', 'IPv6']),
  endpoints: z
    .array(
      open({
        addresses: z.array(ipAddress).min(1).max(100),
        conditions: maybe(
          open({
            ready: maybe(z.boolean()),
            serving: maybe(z.boolean()),
            terminating: maybe(z.boolean()),
          }),
        ),
        hostname: maybe(dnsLabel),
        nodeName: maybe(z.string()),
        zone: maybe(z.string()),
        targetRef: maybe(
          open({
            kind: maybe(z.string()),
            namespace: maybe(z.string()),
            name: maybe(z.string()),
            uid: maybe(z.string()),
          }),
        ),
        hints: maybe(open({ forZones: maybe(z.array(open({ name: z.string() }))) })),
      }),
    )
    .max(1000)
    .default([]),
  ports: maybe(
    z
      .array(
        open({
          name: maybe(
            text((v) => v === '' || dnsLabel.safeParse(v).success, 'a DNS label or empty'),
          ),
          protocol: protocol.default('TCP'),
          port: maybe(port),
          appProtocol: maybe(z.string()),
        }),
      )
      .max(100),
  ),
})
  .superRefine((slice, context) => {
    slice.endpoints.forEach((endpoint, i) => {
      endpoint.addresses.forEach((address, j) => {
        if ((slice.addressType === 'IPv6') === address.includes(':')) return;
        context.addIssue({
          code: 'custom',
          path: ['endpoints', i, 'addresses', j],
          message: `must be an ${slice.addressType} address, as addressType says`,
          input: address,
        });
      });
    });
  })
  .meta({ description: 'Backends of a Service in one address family.' });

export type Service = z.infer<typeof service>;
export type ServicePort = z.infer<typeof servicePort>;
export type EndpointSlice = z.infer<typeof endpointSlice>;
