import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DaemonError } from '@causeway/daemon';
import { parseAgentConfig } from './load.ts';

function refused(text: string): DaemonError {
  try {
    parseAgentConfig(text);
  } catch (error) {
    assert.ok(error instanceof DaemonError);
    assert.equal(error.code, 'bad-config');
    return error;
  }
  return assert.fail(`accepted: ${text}`);
}

test('an empty file gives a whole configuration', () => {
  const config = parseAgentConfig('');
  assert.equal(config.routingMode, 'tunnel');
  assert.deepEqual(config.families, ['ipv4', 'ipv6']);
  assert.equal(config.tunnel.port, 8472);
  assert.equal(config.runDir, '/run/causeway');
  assert.notEqual(config.node.name, '');
});

test('an agent with a run directory of its own keeps there what is to outlive it, unless told where', () => {
  const of = (text: string) => parseAgentConfig(text).stateDir;
  assert.equal(of(''), '/var/lib/causeway');
  assert.equal(of('runDir: /run/causeway/'), '/var/lib/causeway');
  assert.equal(of('runDir: /run/second'), '/run/second/state');
  assert.equal(of('{runDir: /run/second, stateDir: /srv/second}'), '/srv/second');
});

test('every refusal names field, value and what is allowed', () => {
  const cases: [yaml: string, field: string, text: RegExp][] = [
    ['routingMod: native', 'routingMod', /did you mean routingMode/],
    ['tunnel: {prot: 1}', 'tunnel.prot', /did you mean port/],
    ['cluster: {colour: red}', 'cluster.colour', /known here: name, id, maxConnectedClusters/],
    [
      'routingMode: vxlan',
      'routingMode',
      /"vxlan" is refused: must be one of tunnel, native, hybrid/,
    ],
    ['tunnel: {port: 70000}', 'tunnel.port', /70000 is refused.*65535/],
    ['nativeRoutingCIDRs: [10.0.0.1/8]', 'nativeRoutingCIDRs.0', /10\.0\.0\.0\/8/],
    ['node: {addresses: [300.1.1.1]}', 'node.addresses.0', /"300.1.1.1" is refused/],
    ['families: [ipv4, ipv4]', 'families', /twice/],
    ['families: [ipv4]\nserviceCIDRs: ["fd00::/112"]', 'serviceCIDRs.0', /families does not name/],
    ['cluster: {id: 300}', 'cluster.id', /at most/],
    ['cluster: {id: 3}', 'cluster.name', /must not be "default"/],
    ['cluster: {maxConnectedClusters: 300}', 'cluster.maxConnectedClusters', /255, 511/],
    ['etcd: {endpoints: ["ftp://x"]}', 'etcd.endpoints.0', /http/],
    ['runDir: relative/path', 'runDir', /absolute path/],
    ['masquerade: {ports: [50000, 50001]}', 'masquerade.ports', /256 ports/],
    ['log: {level: loud}', 'log.level', /one of trace, debug/],
    ['[1, 2]', '(file)', /object/],
  ];
  for (const [yaml, field, text] of cases) {
    const error = refused(yaml);
    assert.equal(error.field, field, yaml);
    assert.match(error.message, text);
  }
});
