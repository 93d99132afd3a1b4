import path from 'node:path';
import type { Log } from '@causeway/daemon';
import type { Prefix } from '@causeway/ip';
import type { Clock } from '@causeway/tables';
import { BgpController } from '../bgp/controller.ts';
import { NodeStatusWriter } from '../bgp/node-status-writer.ts';
import type { BgpSources } from '../bgp/sources.ts';
import { SpeakerClient } from '../bgp/speaker-client.ts';
import { reachable } from '../cluster/tables.ts';
import type { AgentConfig } from '../config/schema.ts';
import type { Foundation } from './foundation.ts';

export interface AnnouncingOptions {
  readonly config: AgentConfig;
  readonly foundation: Foundation;
  readonly sources: Pick<BgpSources, 'balancing' | 'outside' | 'podAddresses' | 'nodeAddresses'>;
  readonly onAttracted: (prefixes: readonly Prefix[]) => void;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

/** What a node says by BGP: what the speaker is told, and what the store is told of the sessions. */
export class Announcing implements AsyncDisposable {
  readonly controller: BgpController;
  readonly #status: NodeStatusWriter;

  constructor({ config, foundation, sources, ...rest }: AnnouncingOptions) {
    const { store: tables, ownNode, host, cluster, database, resources } = foundation;
    const { nodes } = cluster;
    const port = new SpeakerClient(config.bgp.socket ?? path.join(config.runDir, 'speaker.sock'));
    this.controller = new BgpController({
      ...rest,
      config,
      database,
      port,
      sources: {
        ...sources,
        bgp: tables.bgp,
        ownNode,
        devices: host.tables.devices,
        pools: tables.addressing.pools,
        services: tables.services,
        nodes: {
          get initialized() {
            return nodes.initialized;
          },
          *rows() {
            for (const row of nodes.rows()) {
              if (row.cluster !== config.cluster.name) continue;
              yield { name: row.name, labels: row.labels, addresses: reachable(row) };
            }
          },
          onCommit: (listener) => nodes.onCommit(listener),
        },
      },
    });
    this.#status = new NodeStatusWriter({
      ...rest,
      node: config.node.name,
      store: resources,
      port,
      plan: () => this.controller.plan,
      wall: Date.now,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#status[Symbol.asyncDispose]();
    await this.controller[Symbol.asyncDispose]();
  }
}
