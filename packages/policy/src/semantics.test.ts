/* Each point of the documents, one test. The words in quotes name the document's section or field. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  cidrLabels,
  LabelSet,
  NumericIdentity,
  podLabels,
  reservedLabels,
} from '@causeway/identity';
import { lookupVerdict, type NamedPort, PolicyEngine, type PolicySettings } from '../index.ts';

type Json = Record<string, unknown>;
const TCP = 6;
const UDP = 17;
const SCTP = 132;
const ICMP = 1;
const ICMPV6 = 58;

const pod = (labels: Record<string, string>, namespace = 'shop', cluster = 'c1') =>
  podLabels({
    cluster,
    namespace,
    labels,
    namespaceLabels: { team: namespace === 'shop' ? 'red' : 'blue' },
  });

const CAST = {
  db: pod({ app: 'db' }),
  web: pod({ app: 'web', role: 'employee' }),
  guest: pod({ app: 'web' }),
  batch: pod({ app: 'web' }, 'jobs'),
  abroad: pod({ app: 'web', role: 'employee' }, 'shop', 'c2'),
  starting: reservedLabels(NumericIdentity(5))!,
  host: reservedLabels(NumericIdentity(1))!,
  world4: reservedLabels(NumericIdentity(9))!,
  world6: reservedLabels(NumericIdentity(10))!,
  world: reservedLabels(NumericIdentity(2))!,
  node: reservedLabels(NumericIdentity(6))!,
  api: reservedLabels(NumericIdentity(7))!,
  health: reservedLabels(NumericIdentity(4))!,
  unmanaged: reservedLabels(NumericIdentity(3))!,
  entry: reservedLabels(NumericIdentity(8))!,
  ten: cidrLabels('10.0.0.0/8', true),
  tenOne: cidrLabels('10.1.0.0/16', true),
  six: cidrLabels('fd00::/8', true),
} as const;
type Name = keyof typeof CAST;
const NUMBERS: Partial<Record<Name, number>> = {
  starting: 5,
  host: 1,
  world4: 9,
  world6: 10,
  world: 2,
  node: 6,
  api: 7,
  health: 4,
  unmanaged: 3,
  entry: 8,
};
const idOf = (name: Name) => NUMBERS[name] ?? 1000 + Object.keys(CAST).indexOf(name);

const cnp = (spec: Json, extra: Json = {}) => ({
  apiVersion: 'cilium.io/v2',
  kind: 'CiliumNetworkPolicy',
  metadata: {
    name: `p${JSON.stringify([spec, extra]).length}${JSON.stringify(spec)}`.slice(0, 60),
    namespace: 'shop',
    ...extra,
  },
  spec: { endpointSelector: { matchLabels: { app: 'db' } }, ...spec },
});
const ccnp = (spec: Json) => {
  const { metadata, ...rest } = cnp(spec);
  return { ...rest, kind: 'CiliumClusterwideNetworkPolicy', metadata: { name: metadata.name } };
};
const knp = (spec: Json) => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name: 'k', namespace: 'shop' },
  spec: { podSelector: { matchLabels: { app: 'db' } }, ...spec },
});
const audited = { annotations: { 'policy.causeway.io/audit': 'true' } };

interface Options {
  readonly settings?: Partial<PolicySettings>;
  readonly ports?: Partial<Record<Name, readonly NamedPort[]>>;
  readonly audit?: boolean;
  readonly groups?: readonly unknown[];
}

function given(manifests: readonly unknown[], options: Options = {}) {
  const engine = new PolicyEngine({
    cluster: 'c1',
    families: ['ipv4', 'ipv6'],
    ...options.settings,
  });
  for (const [name, labels] of Object.entries(CAST)) engine.setIdentity(idOf(name as Name), labels);
  for (const [name, ports] of Object.entries(options.ports ?? {}))
    engine.setPeerPorts(name, idOf(name as Name), ports);
  for (const group of options.groups ?? []) assert.ok(engine.applyCidrGroup(group).ok);
  for (const manifest of manifests) {
    const parsed = engine.apply(manifest);
    assert.ok(parsed.ok, JSON.stringify(parsed));
  }
  (['db', 'guest', 'starting'] as const).forEach((name, i) => {
    engine.setEndpoint({
      id: i + 1,
      identity: idOf(name),
      labels: CAST[name],
      namedPorts: options.ports?.[name] ?? [],
      audit: options.audit ?? false,
    });
  });
  const look = (
    endpoint: number,
    direction: 'ingress' | 'egress',
    peer: Name,
    port: number,
    protocol: number,
  ) =>
    lookupVerdict(engine.endpoints.get(endpoint)!.set, direction, idOf(peer), protocol, port).type;
  return {
    engine,
    /** To and from db. */
    in: (peer: Name, port = 80, protocol = TCP) => look(1, 'ingress', peer, port, protocol),
    out: (peer: Name, port = 80, protocol = TCP) => look(1, 'egress', peer, port, protocol),
    guestIn: (peer: Name) => look(2, 'ingress', peer, 80, TCP),
    startingIn: (peer: Name) => look(3, 'ingress', peer, 80, TCP),
    /** Everyone who gets in to db. */
    admitted: () =>
      (Object.keys(CAST) as Name[]).filter(
        (peer) => look(1, 'ingress', peer, 80, TCP) === 'allow' && peer !== 'host',
      ),
  };
}

const from = (...selectors: unknown[]) => cnp({ ingress: [{ fromEndpoints: selectors }] });
const entities = (...names: string[]) =>
  given([cnp({ ingress: [{ fromEntities: names }] })]).admitted();

describe('default deny', () => {
  test('no policy: open', () => {
    const t = given([]);
    assert.deepEqual(
      [t.in('world4'), t.out('world4'), t.guestIn('web')],
      ['allow', 'allow', 'allow'],
    );
  });
  test('a policy closes the directions that it has rules for, of the pods it selects, and no other', () => {
    const t = given([cnp({ ingress: [{}] })]);
    assert.deepEqual([t.in('web'), t.out('web'), t.guestIn('web')], ['deny', 'allow', 'allow']);
  });
  test('ingress: [{}] allows nothing; fromEndpoints: [] nothing; fromEndpoints: [{}] all of the namespace', () => {
    assert.deepEqual(given([cnp({ ingress: [{}] })]).admitted(), []);
    assert.deepEqual(given([cnp({ ingress: [{ fromEndpoints: [] }] })]).admitted(), []);
    assert.deepEqual(
      given([
        cnp({ ingress: [{ fromEndpoints: [], toPorts: [{ ports: [{ port: '80' }] }] }] }),
      ]).admitted(),
      [],
    );
    assert.deepEqual(given([from({})]).admitted(), ['db', 'web', 'guest']);
  });
  test('a port rule without peers is for everybody; one without ports is for nobody', () => {
    assert.equal(
      given([cnp({ ingress: [{ toPorts: [{ ports: [{ port: '80' }] }] }] })]).admitted().length,
      Object.keys(CAST).length - 1,
    );
    assert.deepEqual(given([cnp({ ingress: [{ toPorts: [{}] }] })]).admitted(), []);
    assert.deepEqual(
      given([cnp({ ingress: [{ fromEndpoints: [{}], toPorts: [{ ports: [] }] }] })]).admitted(),
      [],
    );
  });
  test('ingressDeny alone closes too, as "Deny Policies" says', () => {
    const t = given([cnp({ ingressDeny: [{ fromEntities: ['world'] }] })]);
    assert.deepEqual([t.in('world4'), t.in('web'), t.out('web')], ['deny', 'deny', 'allow']);
  });
  test('enableDefaultDeny: false leaves all else open', () => {
    const t = given([
      cnp({ enableDefaultDeny: { ingress: false }, ingressDeny: [{ fromEntities: ['world'] }] }),
    ]);
    assert.deepEqual([t.in('world4'), t.in('web')], ['deny', 'allow']);
  });
  test('enableDefaultDeny: true closes a direction without rules', () => {
    const t = given([
      cnp({ enableDefaultDeny: { egress: true }, ingress: [{ fromEndpoints: [{}] }] }),
    ]);
    assert.deepEqual([t.in('web'), t.out('web')], ['allow', 'deny']);
  });
  test('one policy that wants default deny is enough', () => {
    const t = given([
      cnp({ enableDefaultDeny: { ingress: false }, ingress: [{ fromEntities: ['world'] }] }),
      cnp({ ingress: [{}] }),
    ]);
    assert.deepEqual([t.in('world4'), t.in('web')], ['allow', 'deny']);
  });
  test('each of specs stands for itself', () => {
    const { spec, ...rest } = cnp({});
    const t = given([
      {
        ...rest,
        specs: [
          { endpointSelector: {}, ingress: [{}] },
          { endpointSelector: {}, egress: [{ toEntities: ['all'] }] },
        ],
      },
    ]);
    assert.deepEqual([t.in('web'), t.out('web'), t.guestIn('web')], ['deny', 'allow', 'deny']);
    assert.ok(spec);
  });
  test('pods without labels yet are closed; modes always and never', () => {
    assert.equal(given([]).startingIn('web'), 'deny');
    assert.equal(given([], { settings: { enforcement: 'always' } }).in('web'), 'deny');
    assert.equal(
      given([cnp({ ingress: [{}] })], { settings: { enforcement: 'never' } }).in('web'),
      'allow',
    );
  });
  test('the node reaches its pods unless told otherwise, or denied', () => {
    assert.equal(given([cnp({ ingress: [{}] })]).in('host'), 'allow');
    assert.equal(
      given([cnp({ ingress: [{}] })], { settings: { allowLocalhost: 'policy' } }).in('host'),
      'deny',
    );
    assert.equal(given([cnp({ ingressDeny: [{ fromEntities: ['host'] }] })]).in('host'), 'deny');
    assert.equal(given([cnp({ egress: [{}] })]).out('host'), 'deny');
  });
});

describe('deny first', () => {
  const deny = (rule: Json) =>
    given([cnp({ ingress: [{ fromEntities: ['all'] }], ingressDeny: [rule] })]);
  test('a deny beats any allow, however narrow or wide either is', () => {
    assert.equal(
      deny({ fromEntities: ['all'], toPorts: [{ ports: [{ port: '80', protocol: 'TCP' }] }] }).in(
        'web',
      ),
      'deny',
    );
    assert.equal(
      deny({ fromEntities: ['all'], toPorts: [{ ports: [{ port: '81', protocol: 'TCP' }] }] }).in(
        'web',
      ),
      'allow',
    );
    const narrow = given([
      cnp({
        ingress: [
          {
            fromEndpoints: [{ matchLabels: { role: 'employee' } }],
            toPorts: [{ ports: [{ port: '80', protocol: 'TCP' }] }],
          },
        ],
      }),
      cnp({ ingressDeny: [{ fromEntities: ['cluster'] }] }),
    ]);
    assert.equal(narrow.in('web'), 'deny');
  });
  test('a deny in one kind beats an allow in another', () => {
    const t = given([
      knp({ ingress: [{}] }),
      ccnp({ ingressDeny: [{ fromEndpoints: [{ matchLabels: { role: 'employee' } }] }] }),
    ]);
    assert.deepEqual([t.in('web'), t.in('guest')], ['deny', 'allow']);
  });
});

describe('selectors', () => {
  test('a CNP selector means its own namespace unless it names one, by name or by label', () => {
    assert.deepEqual(given([from({ matchLabels: { app: 'web' } })]).admitted(), ['web', 'guest']);
    assert.deepEqual(
      given([
        from({ matchLabels: { app: 'web', 'k8s:io.kubernetes.pod.namespace': 'jobs' } }),
      ]).admitted(),
      ['batch'],
    );
    assert.deepEqual(
      given([from({ matchLabels: { 'io.kubernetes.pod.namespace': 'jobs' } })]).admitted(),
      ['batch'],
    );
    assert.deepEqual(
      given([
        from({ matchLabels: { 'k8s:io.cilium.k8s.namespace.labels.team': 'blue' } }),
      ]).admitted(),
      ['batch'],
    );
    assert.deepEqual(
      given([
        from({
          matchExpressions: [{ key: 'k8s:io.kubernetes.pod.namespace', operator: 'Exists' }],
        }),
      ]).admitted(),
      ['db', 'web', 'guest', 'batch'],
    );
  });
  test('a CCNP selector means every namespace, but never the world', () => {
    assert.deepEqual(given([ccnp({ ingress: [{ fromEndpoints: [{}] }] })]).admitted(), [
      'db',
      'web',
      'guest',
      'batch',
    ]);
    assert.deepEqual(
      given([
        ccnp({
          ingress: [
            {
              fromEndpoints: [
                { matchExpressions: [{ key: 'app', operator: 'NotIn', values: ['web'] }] },
              ],
            },
          ],
        }),
      ]).admitted(),
      ['db'],
    );
  });
  test('reserved labels are left alone', () => {
    assert.deepEqual(given([from({ matchLabels: { 'reserved:remote-node': '' } })]).admitted(), [
      'node',
      'api',
    ]);
  });
  test('a policy for starting pods may admit others without namespace; a cluster they have not either', () => {
    const policy = ccnp({
      endpointSelector: { matchLabels: { 'reserved:init': '' } },
      ingress: [{ fromEndpoints: [{}] }],
    });
    const any = given([policy], { settings: { defaultCluster: 'any' } });
    assert.deepEqual([any.startingIn('starting'), any.startingIn('web')], ['allow', 'allow']);
    const local = given([policy]);
    assert.deepEqual([local.startingIn('starting'), local.startingIn('web')], ['deny', 'allow']);
  });
  test('other clusters only where named, or where the default is any', () => {
    const web = { matchLabels: { app: 'web', role: 'employee' } };
    assert.deepEqual(given([from(web)]).admitted(), ['web']);
    assert.deepEqual(given([from(web)], { settings: { defaultCluster: 'any' } }).admitted(), [
      'web',
      'abroad',
    ]);
    assert.deepEqual(
      given([
        from({ matchLabels: { ...web.matchLabels, 'io.cilium.k8s.policy.cluster': 'c2' } }),
      ]).admitted(),
      ['abroad'],
    );
    assert.deepEqual(given([knp({ ingress: [{ from: [{ podSelector: web }] }] })]).admitted(), [
      'web',
    ]);
  });
  test('sources: k8s: and any: select, another source does not', () => {
    for (const key of ['app', 'any:app', 'k8s:app'])
      assert.deepEqual(given([from({ matchLabels: { [key]: 'db' } })]).admitted(), ['db']);
    assert.deepEqual(given([from({ matchLabels: { 'container:app': 'db' } })]).admitted(), []);
  });
});

describe('entities', () => {
  test('each means what the documents say', () => {
    assert.equal(entities('all').length, Object.keys(CAST).length - 1);
    assert.deepEqual(entities('world'), ['world4', 'world6', 'world', 'ten', 'tenOne', 'six']);
    assert.deepEqual(entities('world-ipv4'), ['world4', 'ten', 'tenOne']);
    assert.deepEqual(entities('world-ipv6'), ['world6', 'six']);
    assert.deepEqual(entities('cluster'), [
      'db',
      'web',
      'guest',
      'batch',
      'starting',
      'node',
      'api',
      'health',
      'unmanaged',
      'entry',
    ]);
    assert.deepEqual(entities('remote-node'), ['node', 'api']);
    assert.deepEqual(entities('kube-apiserver'), ['api']);
    assert.deepEqual(entities('health'), ['health']);
    assert.deepEqual(entities('init'), ['starting']);
    assert.deepEqual(entities('unmanaged'), ['unmanaged']);
    assert.deepEqual(entities('ingress'), ['entry']);
    assert.deepEqual(entities('none'), []);
    assert.deepEqual(entities('host'), []);
  });
});

describe('addresses', () => {
  const cidr = (...list: string[]) => given([cnp({ ingress: [{ fromCIDR: list }] })]).admitted();
  test('a prefix selects outside identities inside it, never pods or nodes', () => {
    assert.deepEqual(cidr('10.0.0.0/8'), ['ten', 'tenOne']);
    assert.deepEqual(cidr('10.1.0.0/16'), ['tenOne']);
    assert.deepEqual(cidr('0.0.0.0/0'), ['world4', 'ten', 'tenOne']);
    assert.deepEqual(cidr('::/0'), ['world6', 'six']);
    assert.deepEqual(cidr('fd00::/8', '10.1.255.255/16'), ['tenOne', 'six']);
  });
  test('with one family plain world is all of it', () => {
    const t = given([cnp({ ingress: [{ fromCIDR: ['0.0.0.0/0'] }] })], {
      settings: { families: ['ipv4'] },
    });
    assert.deepEqual([t.in('world'), t.in('web')], ['allow', 'deny']);
  });
  test('except takes out, of this set only', () => {
    const set = [{ cidr: '10.0.0.0/8', except: ['10.1.0.0/16'] }];
    assert.deepEqual(given([cnp({ ingress: [{ fromCIDRSet: set }] })]).admitted(), ['ten']);
    assert.deepEqual(
      given([cnp({ ingress: [{ fromCIDRSet: [...set, { cidr: '10.1.0.0/16' }] }] })]).admitted(),
      ['ten', 'tenOne'],
    );
    const t = given([
      knp({ egress: [{ to: [{ ipBlock: { cidr: '0.0.0.0/0', except: ['10.0.0.0/8'] } }] }] }),
    ]);
    assert.deepEqual(
      [t.out('world4'), t.out('ten'), t.out('tenOne'), t.out('world6'), t.out('web')],
      ['allow', 'deny', 'deny', 'deny', 'deny'],
    );
  });
  test('the prefixes that need an identity are named, /0 is not', () => {
    const { engine } = given([
      cnp({
        ingress: [{ fromCIDRSet: [{ cidr: '0.0.0.0/0', except: ['10.0.0.0/8'] }] }],
        egress: [{ toCIDR: ['10.0.0.0/8', '192.0.2.7'] }],
      }),
    ]);
    assert.deepEqual(
      [...engine.prefixes],
      [
        ['10.0.0.0/8', 2],
        ['192.0.2.7/32', 1],
      ],
    );
  });
  test('CIDR groups by name and by label, followed as they change', () => {
    const group = (name: string, labels: Json, ...externalCIDRs: string[]) => ({
      apiVersion: 'cilium.io/v2',
      kind: 'CiliumCIDRGroup',
      metadata: { name, labels },
      spec: { externalCIDRs },
    });
    const byName = cnp({
      ingress: [{ fromCIDRSet: [{ cidrGroupRef: 'g', except: ['10.1.0.0/16'] }] }],
    });
    const t = given([byName], { groups: [group('g', {}, '10.0.0.0/8')] });
    assert.deepEqual(t.admitted(), ['ten']);
    t.engine.applyCidrGroup(group('g', {}, 'fd00::/8'));
    assert.deepEqual(t.admitted(), ['six']);
    t.engine.deleteCidrGroup('g');
    assert.deepEqual(t.admitted(), []);
    const bySelector = cnp({
      ingress: [{ fromCIDRSet: [{ cidrGroupSelector: { matchLabels: { team: 'x' } } }] }],
    });
    assert.deepEqual(
      given([bySelector], {
        groups: [group('a', { team: 'x' }, '10.1.0.0/16'), group('b', { team: 'y' }, 'fd00::/8')],
      }).admitted(),
      ['tenOne'],
    );
  });
});

describe('ports', () => {
  const port = (...list: Json[]) =>
    given([cnp({ ingress: [{ fromEndpoints: [{}], toPorts: [{ ports: list }] }] })]);
  test('ANY and no protocol mean TCP, UDP and SCTP, not ICMP', () => {
    for (const one of [{ port: '80' }, { port: '80', protocol: 'ANY' }]) {
      const t = port(one);
      assert.deepEqual(
        [t.in('web', 80, TCP), t.in('web', 80, UDP), t.in('web', 80, SCTP), t.in('web', 80, ICMP)],
        ['allow', 'allow', 'allow', 'deny'],
      );
    }
    const all = port({ port: '0' });
    assert.deepEqual(
      [all.in('web', 9, TCP), all.in('web', 9, SCTP), all.in('web', 8, ICMP), all.in('web', 0, 47)],
      ['allow', 'allow', 'deny', 'deny'],
    );
  });
  test('without port rules every protocol passes', () => {
    const t = given([from({})]);
    assert.deepEqual(
      [t.in('web', 8, ICMP), t.in('web', 128, ICMPV6), t.in('web', 0, 47)],
      ['allow', 'allow', 'allow'],
    );
  });
  test('ranges hold their ends and no more', () => {
    const t = port({ port: '1000', endPort: 1999, protocol: 'UDP' });
    assert.deepEqual(
      [999, 1000, 1500, 1999, 2000].map((each) => t.in('web', each, UDP)),
      ['deny', 'allow', 'allow', 'allow', 'deny'],
    );
  });
  test('NetworkPolicy: TCP by default, no port is all ports of the protocol', () => {
    const t = given([knp({ ingress: [{ ports: [{ port: 80 }, { protocol: 'UDP' }] }] })]);
    assert.deepEqual(
      [t.in('world4', 80), t.in('world4', 81), t.in('world4', 80, SCTP), t.in('world4', 9, UDP)],
      ['allow', 'deny', 'deny', 'allow'],
    );
  });
  test("named ports: the endpoint's own for ingress, each peer's for egress", () => {
    const named = [{ ports: [{ port: 'Http', protocol: 'TCP' }] }];
    const http = (number: number): NamedPort[] => [{ name: 'http', port: number, protocol: TCP }];
    const t = given(
      [
        cnp({
          ingress: [{ fromEndpoints: [{}], toPorts: named }],
          egress: [{ toEndpoints: [{}], toPorts: named }],
        }),
      ],
      { ports: { db: http(8080), web: http(9090) } },
    );
    assert.deepEqual(
      [t.in('web', 8080), t.in('web', 9090), t.in('web', 80)],
      ['allow', 'deny', 'deny'],
    );
    assert.deepEqual(
      [t.out('web', 9090), t.out('web', 8080), t.out('guest', 9090), t.out('db', 8080)],
      ['allow', 'deny', 'deny', 'allow'],
    );
    const toAll = given([cnp({ egress: [{ toPorts: named }] })], { ports: { web: http(9090) } });
    assert.deepEqual(
      [toAll.out('web', 9090), toAll.out('guest', 9090), toAll.out('world4', 9090)],
      ['allow', 'deny', 'deny'],
    );
  });
  test('a name of the other protocol is another port', () => {
    const t = given(
      [
        cnp({
          ingress: [
            { fromEndpoints: [{}], toPorts: [{ ports: [{ port: 'dns', protocol: 'UDP' }] }] },
          ],
        }),
      ],
      { ports: { db: [{ name: 'dns', port: 53, protocol: TCP }] } },
    );
    assert.deepEqual([t.in('web', 53, TCP), t.in('web', 53, UDP)], ['deny', 'deny']);
  });
  test('ICMP types by name and number, of their own family', () => {
    const t = given([
      cnp({
        ingress: [
          {
            fromEndpoints: [{}],
            icmps: [
              { fields: [{ type: 'EchoRequest' }, { family: 'IPv6', type: 128 }, { type: '0' }] },
            ],
          },
        ],
      }),
    ]);
    assert.deepEqual(
      [
        t.in('web', 8, ICMP),
        t.in('web', 0, ICMP),
        t.in('web', 128, ICMPV6),
        t.in('web', 128, ICMP),
        t.in('web', 8, ICMPV6),
        t.in('web', 11, ICMP),
        t.in('web', 8, TCP),
      ],
      ['allow', 'allow', 'allow', 'deny', 'deny', 'deny', 'deny'],
    );
  });
});

describe('NetworkPolicy', () => {
  test('policyTypes: ingress by default, egress where rules stand', () => {
    const one = given([knp({})]);
    assert.deepEqual([one.in('web'), one.out('web')], ['deny', 'allow']);
    const two = given([knp({ egress: [{ to: [{ podSelector: {} }] }] })]);
    assert.deepEqual([two.in('web'), two.out('web'), two.out('batch')], ['deny', 'allow', 'deny']);
    const three = given([knp({ policyTypes: ['Egress'], ingress: [{}] })]);
    assert.deepEqual([three.in('web'), three.out('web')], ['allow', 'deny']);
  });
  test('a direction that policyTypes leaves out opens nothing either', () => {
    const t = given([knp({ policyTypes: ['Egress'], ingress: [{}] }), cnp({ ingress: [{}] })]);
    assert.equal(t.in('web'), 'deny');
  });
  test('from: [] and no from are everybody; an empty rule is everything', () => {
    for (const rule of [{}, { from: [] }])
      assert.equal(given([knp({ ingress: [rule] })]).in('world6', 1, UDP), 'allow');
  });
  test("podSelector: own namespace; namespaceSelector: by the namespace's labels; both: both", () => {
    const peers = (...list: unknown[]) => given([knp({ ingress: [{ from: list }] })]).admitted();
    assert.deepEqual(peers({ podSelector: {} }), ['db', 'web', 'guest']);
    assert.deepEqual(peers({ namespaceSelector: {} }), ['db', 'web', 'guest', 'batch']);
    assert.deepEqual(peers({ namespaceSelector: { matchLabels: { team: 'blue' } } }), ['batch']);
    assert.deepEqual(
      peers({ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'jobs' } } }),
      ['batch'],
    );
    assert.deepEqual(
      peers({
        namespaceSelector: {
          matchExpressions: [{ key: 'team', operator: 'NotIn', values: ['red'] }],
        },
      }),
      ['batch'],
    );
    assert.deepEqual(
      peers({ namespaceSelector: {}, podSelector: { matchLabels: { role: 'employee' } } }),
      ['web'],
    );
    assert.deepEqual(
      peers(
        { podSelector: { matchLabels: { app: 'db' } } },
        { namespaceSelector: { matchLabels: { team: 'blue' } } },
      ),
      ['db', 'batch'],
    );
  });
});

describe('audit', () => {
  test('an audited policy closes nothing, but says what it would close', () => {
    const t = given([
      cnp({ ingress: [{ fromEndpoints: [{ matchLabels: { role: 'employee' } }] }] }, audited),
    ]);
    assert.deepEqual([t.in('web'), t.in('guest'), t.out('guest')], ['allow', 'audit', 'allow']);
  });
  test('an audited deny passes and is reported, also beside an allow at the very same key', () => {
    const t = given([
      cnp({ ingress: [{ fromEndpoints: [{}] }] }),
      cnp({ ingressDeny: [{ fromEndpoints: [{}] }] }, audited),
    ]);
    assert.deepEqual([t.in('web'), t.in('batch')], ['audit', 'deny']);
  });
  test('an audited allow opens nothing that is closed', () => {
    const t = given([cnp({ ingress: [{}] }), cnp({ ingress: [{ fromEndpoints: [{}] }] }, audited)]);
    assert.equal(t.in('web'), 'deny');
  });
  test('a deny in force stays one, whatever is audited beside it', () => {
    const t = given([
      cnp({ enableDefaultDeny: { ingress: false }, ingressDeny: [{ fromEndpoints: [{}] }] }),
      cnp({ ingress: [{}] }, audited),
    ]);
    assert.deepEqual([t.in('web'), t.in('batch')], ['deny', 'audit']);
  });
  test('an endpoint in audit mode is denied nothing and reports everything', () => {
    const t = given(
      [
        cnp({
          ingress: [{ fromEndpoints: [{ matchLabels: { role: 'employee' } }] }],
          ingressDeny: [{ fromEntities: ['world'] }],
        }),
      ],
      { audit: true },
    );
    assert.deepEqual([t.in('web'), t.in('guest'), t.in('world4')], ['allow', 'audit', 'audit']);
  });
});

test('labels that no pod has are no reason for an entry', () => {
  const { engine } = given([from({ matchLabels: { app: 'nobody' } })]);
  assert.equal(
    [...engine.endpoints.get(1)!.set.entries()].filter((each) => each.ruleId !== 1).length,
    0,
  );
  engine.setIdentity(7000, LabelSet.of(pod({ app: 'nobody' })));
  assert.equal(
    [...engine.endpoints.get(1)!.set.entries()].filter((each) => each.identity === 7000).length,
    1,
  );
});
