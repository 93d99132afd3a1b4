import type { PolicyEngine } from '@causeway/policy';
import type { Clock } from '@causeway/tables';
import { type ClusterTables, nodeAt } from '../cluster/tables.ts';
import type { AgentConfig } from '../config/schema.ts';
import type { DatapathEvent, NodeDatapath } from '../datapath/ports.ts';
import type { EndpointTable } from '../endpoints/table.ts';
import { Explainer } from '../monitor/drops.ts';
import { Monitor } from '../monitor/monitor.ts';

export interface ObservingOptions {
  readonly config: AgentConfig;
  readonly datapath: NodeDatapath;
  readonly engine: PolicyEngine;
  /** Whether the engine has every policy. */
  readonly complete: () => boolean;
  readonly endpoints: EndpointTable;
  readonly cluster: ClusterTables;
  readonly clock: Clock;
}

/** What the programs tell of packets, made into sentences and handed to whoever reads. */
export class Observing {
  readonly monitor: Monitor;
  readonly explainer: Explainer;

  constructor(options: ObservingOptions) {
    const { config, datapath, engine, complete, endpoints, cluster, clock } = options;
    this.monitor = new Monitor({
      buffer: config.limits.monitorBuffer,
      clients: config.limits.monitorClients,
      onInterest: (types) =>
        datapath.setMonitor({
          verdicts: types.has('verdict') || types.has('audit'),
          traces: types.has('trace'),
        }),
    });
    this.explainer = new Explainer({
      engine,
      complete,
      endpoints,
      nameOf: (address) =>
        cluster.ipEntries.winner(address)?.pod ??
        nodeAt(cluster.nodes, address, config.cluster.name)?.name,
      now: () => clock.now(),
    });
    datapath.onEvent((event) => this.#publish(event));
  }

  #publish(event: DatapathEvent): void {
    const explained = this.explainer.explain(event);
    if (this.monitor.wants(event.type)) this.monitor.publish({ ...explained });
    // What passes on trial only is a verdict that somebody may want to see alone.
    const audited = event.reason === 'policy-audit' && this.monitor.wants('audit');
    if (audited) this.monitor.publish({ ...explained, type: 'audit' });
  }
}
