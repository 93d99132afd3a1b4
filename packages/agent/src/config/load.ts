import os from 'node:os';
import path from 'node:path';
import { checkConfig, loadConfig, parseConfig, refuseConfig } from '@causeway/daemon';
import { type AgentConfig, configSchema, type ParsedConfig, RUN_DIRECTORY } from './schema.ts';

/** @throws DaemonError `bad-config`, naming every bad field, its value and what is allowed there. */
export const loadAgentConfig = (file: string): AgentConfig =>
  complete(loadConfig(file, configSchema), file);

export const parseAgentConfig = (text: string, source = 'configuration'): AgentConfig =>
  complete(parseConfig(text, configSchema, source), source);

export const checkAgentConfig = (value: unknown, source = 'configuration'): AgentConfig =>
  complete(checkConfig(value, configSchema, source), source);

function complete(config: ParsedConfig, source: string): AgentConfig {
  const name = config.node.name ?? os.hostname().toLowerCase();
  const { runDir } = config;
  const stateDir =
    config.stateDir ??
    (path.resolve(runDir) === RUN_DIRECTORY ? '/var/lib/causeway' : path.join(runDir, 'state'));
  const full: AgentConfig = { ...config, stateDir, node: { ...config.node, name } };
  checkTogether(full, source);
  return full;
}

/** What no single field can know. */
function checkTogether(config: AgentConfig, source: string): void {
  const refuse = (field: string, bad: unknown, message: string): never =>
    refuseConfig(source, field, bad, message);
  const { cluster, families } = config;
  if (cluster.id > cluster.maxConnectedClusters) {
    refuse(
      'cluster.id',
      cluster.id,
      `must be at most cluster.maxConnectedClusters (${cluster.maxConnectedClusters})`,
    );
  }
  if (cluster.id !== 0 && cluster.name === 'default') {
    refuse('cluster.name', cluster.name, 'must not be "default" when cluster.id is not 0');
  }
  if (config.socketLB.enabled && !config.socketLB.pods) {
    refuse(
      'socketLB.pods',
      false,
      'cannot be false while socketLB.enabled is true: the hooks see pods and node alike; set socketLB.enabled to false for translation per packet',
    );
  }
  for (const [field, list] of [
    ['nativeRoutingCIDRs', config.nativeRoutingCIDRs],
    ['masquerade.exceptions', config.masquerade.exceptions],
    ['serviceCIDRs', config.serviceCIDRs],
  ] as const) {
    list.forEach((cidr, index) => {
      const family = cidr.includes(':') ? 'ipv6' : 'ipv4';
      if (!families.includes(family)) {
        refuse(`${field}.${index}`, cidr, `is of family ${family}, which families does not name`);
      }
    });
  }
  if (
    config.etcd.tls !== undefined &&
    (config.etcd.tls.certFile === undefined) !== (config.etcd.tls.keyFile === undefined)
  ) {
    refuse('etcd.tls', config.etcd.tls, 'must have certFile and keyFile together or neither');
  }
}
