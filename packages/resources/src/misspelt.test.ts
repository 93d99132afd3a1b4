import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Resource } from './kinds.ts';
import { parseManifests } from './manifest.ts';
import { validateAll, validateObject } from './validate.ts';
import { warningsOf } from './warnings.ts';

const warnings = (text: string): string[] =>
  validateAll(parseManifests(text)).flatMap((object) => warningsOf(object as Resource));

test('a field that looks like one of ours is taken with a warning where unknown ones are kept', () => {
  assert.deepEqual(
    warnings(`
apiVersion: v1
kind: Service
metadata: {name: till, lables: {app: till}}
spec: {selctor: {app: till}, ports: [{port: 80, targetPrt: 8080}]}
`),
    [
      'metadata.lables is not a field that is known here; did you mean labels?',
      'spec.ports[0].targetPrt is not a field that is known here; did you mean targetPort?',
      'spec.selctor is not a field that is known here; did you mean selector?',
    ],
  );
});

test('what Kubernetes knows and we do not name is no slip of the finger', () => {
  assert.deepEqual(
    warnings(`
apiVersion: v1
kind: Pod
metadata: {name: a, generateName: a-, finalizers: [x/y], labels: {lables: a}, managedFields: [], selfLink: a}
spec:
  nodeName: n1
  nodeSelector: {a: b}
  hostNetwork: false
  hostIPC: false
  hostPID: false
  hostname: a
  subdomain: b
  dnsPolicy: Default
  dnsConfig: {}
  restartPolicy: Always
  priority: 0
  priorityClassName: a
  preemptionPolicy: Never
  schedulerName: a
  serviceAccount: a
  serviceAccountName: a
  automountServiceAccountToken: true
  securityContext: {}
  imagePullSecrets: []
  affinity: {}
  tolerations: []
  volumes: []
  overhead: {}
  readinessGates: []
  runtimeClassName: a
  enableServiceLinks: true
  terminationGracePeriodSeconds: 1
  activeDeadlineSeconds: 1
  initContainers: []
  ephemeralContainers: []
  containers:
    - {name: a, image: b, command: [a], args: [b], env: [], envFrom: [], resources: {}, volumeMounts: [], tty: true,
       stdin: true, stdinOnce: true, livenessProbe: {}, readinessProbe: {}, startupProbe: {}, lifecycle: {},
       imagePullPolicy: Always, workingDir: /, terminationMessagePath: /a, securityContext: {}, volumeDevices: [],
       ports: [{containerPort: 80, hostPort: 80, hostIP: 127.0.0.1, name: a, protocol: TCP}]}
---
apiVersion: v1
kind: Service
metadata: {name: a}
spec:
  type: LoadBalancer
  clusterIP: None
  externalName: a
  externalIPs: []
  healthCheckNodePort: 30000
  loadBalancerIP: 192.0.2.1
  publishNotReadyAddresses: true
  trafficDistribution: PreferClose
  allocateLoadBalancerNodePorts: true
  ports: [{port: 80, appProtocol: http, nodePort: 30001}]
`),
    [],
  );
});

test('a refused field and a kind unknown name the one that was meant', () => {
  const refused = (value: Readonly<Record<string, unknown>>) => {
    const result = validateObject({ where: 'document 1', value });
    assert.equal(result.type, 'refused');
    return result.type === 'refused' ? result.error : assert.fail();
  };
  assert.match(
    refused({
      apiVersion: 'causeway.io/v1',
      kind: 'PodIPPoolOptions',
      metadata: { name: 'a' },
      spec: { closd: ['10.0.0.0/24'] },
    }).message,
    /spec\.closd is not a field of this kind; did you mean closed\?/,
  );
  assert.equal(refused({ apiVersion: 'v1', kind: 'Servce' }).hint, 'did you mean v1 Service?');
  assert.equal(
    refused({ apiVersion: 'causeway.io/v9', kind: 'AddressReservation' }).hint,
    'did you mean causeway.io/v1 AddressReservation?',
  );
});
