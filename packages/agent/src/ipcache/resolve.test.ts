import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Address, Prefix } from '@causeway/ip';
import { rawEntry } from '@causeway/mesh';
import { Database } from '@causeway/tables';
import { clusterTables } from '../cluster/tables.ts';
import { cidrIdentityTable } from '../policy/cidr-identities.ts';
import { protectedTable } from './protected.ts';
import { IpcacheResolver } from './resolve.ts';

const trusted = { settled: true, whenSettled: (work: () => void) => work() } as never;

function world(tunnel: boolean) {
  const database = new Database({ freeze: true });
  const tables = clusterTables(database, trusted, new AbortController().signal, 'east');
  const cidrs = cidrIdentityTable(database);
  const protectedSockets = protectedTable(database);
  const resolver = new IpcacheResolver({
    cluster: 'east',
    node: 'a',
    mode: tunnel ? 'tunnel' : 'native',
    ways: { tunnels: () => tunnel },
    underlayFamily: 'ipv4',
    tables,
    cidrs,
    nodeIdentities: { of: (_, __, base) => base },
    protectedSockets,
  });
  const put = {
    entry: (address: string, identity: number, host: string | undefined, cluster = 'east') =>
      tables.ipEntries.put(
        cluster,
        rawEntry(address, {
          identity,
          host: host === undefined ? undefined : Address.parse(host),
        }),
      ),
    node: (
      name: string,
      addresses: readonly [string, string][],
      podCIDRs: readonly string[],
      cluster = 'east',
    ) =>
      tables.nodes.put({
        cluster,
        name,
        addresses: addresses.map(([type, text]) => ({ type, address: Address.parse(text) })),
        podCIDRs: podCIDRs.map((cidr) => Prefix.parse(cidr)),
        labels: {},
      }),
  };
  const at = (prefix: string) => resolver.resolve(Prefix.parseLoose(prefix));
  return { put, at, cidrs, protectedSockets, resolver, tables };
}

test('native: workloads by their entry, nodes by their addresses, prefixes by policy alone', () => {
  const { put, at, cidrs } = world(false);
  put.entry('10.1.2.3', 70_000, '192.0.2.2');
  put.node(
    'b',
    [
      ['InternalIP', '192.0.2.2'],
      ['CiliumInternalIP', '10.1.2.1'],
    ],
    ['10.1.2.0/24'],
  );
  put.node('a', [['InternalIP', '192.0.2.1']], ['10.1.1.0/24']);
  cidrs.put({ prefix: Prefix.parse('203.0.113.0/24'), identity: 0x0100_0001, labels: '' });
  assert.deepEqual(at('10.1.2.3'), {
    identity: 70_000,
    tunnelEndpoint: undefined,
    noMasquerade: true,
    isNode: false,
    isProtected: false,
  });
  assert.deepEqual(at('192.0.2.2'), {
    identity: 6,
    tunnelEndpoint: undefined,
    noMasquerade: true,
    isNode: true,
    isProtected: false,
  });
  assert.equal(at('192.0.2.1')?.identity, 1);
  assert.equal(at('203.0.113.0/24')?.identity, 0x0100_0001);
  assert.equal(at('10.1.2.0/24'), undefined, 'no tunnel, no fallback');
  assert.equal(at('198.51.100.1'), undefined);
});

test("tunnel: to the node behind an entry, to a node's inner address, and to pod CIDRs as a last resort", () => {
  const { put, at, cidrs, resolver } = world(true);
  put.entry('10.1.2.3', 70_000, '2001:db8::2');
  put.entry('10.9.9.9', 70_001, '192.0.2.77');
  put.node(
    'b',
    [
      ['InternalIP', '192.0.2.2'],
      ['InternalIP', '2001:db8::2'],
      ['CiliumInternalIP', '10.1.2.1'],
    ],
    ['10.1.2.0/24', 'fd00:1:2::/64'],
  );
  put.node(
    'a',
    [
      ['InternalIP', '192.0.2.1'],
      ['CiliumInternalIP', '10.1.1.1'],
    ],
    ['10.1.1.0/24'],
  );
  cidrs.put({ prefix: Prefix.parse('10.1.2.128/25'), identity: 0x0100_0002, labels: '' });
  assert.equal(
    at('10.1.2.3')?.tunnelEndpoint,
    '192.0.2.2',
    'the host in the family of the underlay',
  );
  assert.equal(at('10.9.9.9')?.tunnelEndpoint, '192.0.2.77', 'a host that is no node here');
  assert.deepEqual(at('10.1.2.1'), {
    identity: 6,
    tunnelEndpoint: '192.0.2.2',
    noMasquerade: true,
    isNode: true,
    isProtected: false,
  });
  assert.equal(at('192.0.2.2')?.tunnelEndpoint, undefined, 'a node itself is reached as it is');
  assert.deepEqual(at('fd00:1:2::/64'), {
    identity: 0,
    tunnelEndpoint: '192.0.2.2',
    noMasquerade: false,
    isNode: false,
    isProtected: false,
  });
  assert.deepEqual(at('10.1.2.128/25'), {
    identity: 0x0100_0002,
    tunnelEndpoint: '192.0.2.2',
    noMasquerade: false,
    isNode: false,
    isProtected: false,
  });
  assert.equal(at('10.1.1.0/24'), undefined, 'the own CIDR is no tunnel');
  assert.equal(new Set(resolver.all()).size, [...resolver.all()].length);
});

test('the own cluster wins an address; protected sockets carry what the trie says', () => {
  const { put, at, cidrs, protectedSockets } = world(false);
  put.entry('10.1.2.3', 90_000, undefined, 'west');
  assert.equal(at('10.1.2.3')?.identity, 90_000);
  put.entry('10.1.2.3', 70_000, undefined);
  assert.equal(at('10.1.2.3')?.identity, 70_000);
  protectedSockets.put({ address: Address.parse('203.0.113.5'), port: 2379, protocol: 6 });
  assert.deepEqual(at('203.0.113.5'), {
    identity: 0,
    tunnelEndpoint: undefined,
    noMasquerade: false,
    isNode: false,
    isProtected: true,
  });
  cidrs.put({ prefix: Prefix.parse('203.0.113.0/24'), identity: 0x0100_0001, labels: '' });
  assert.equal(at('203.0.113.5')?.identity, 0x0100_0001);
});

test('no cluster makes a node of what another has an entry for', () => {
  const { put, at } = world(false);
  put.entry('10.2.0.5', 90_000, '192.0.2.22', 'west');
  put.entry('10.1.0.5', 70_000, '192.0.2.2');
  const claimed: [string, string][] = ['10.2.0.5', '10.1.0.5', '192.0.2.22'].map((address) => [
    'InternalIP',
    address,
  ]);
  put.node('liar', claimed, [], 'north');
  assert.equal(at('10.2.0.5')?.isNode, false, 'nor by naming the host of its entry as well');
  assert.equal(at('10.1.0.5')?.isNode, false);
  put.node('b', [['InternalIP', '10.2.0.5']], [], 'west');
  assert.equal(at('10.2.0.5')?.isNode, true, 'its own cluster may');
  assert.equal(at('10.1.0.5')?.isNode, false);
});
