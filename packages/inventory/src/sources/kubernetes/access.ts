import type { RequestOptions } from 'node:https';
import type { KubeConfig } from '@kubernetes/client-node';
import { InventoryError } from '../../errors.ts';
import type { KubernetesSourceConfig } from './config.ts';

/** Which server, and as whom it is asked. */
export interface Access {
  readonly server: string;
  /** Adds what shows who asks: a token, a certificate; and whom to believe. */
  identify(options: RequestOptions): Promise<void>;
}

/**
 * By Kubernetes' own client library.
 * @throws InventoryError `source-unreachable` for a kubeconfig that cannot be used.
 */
export async function openAccess(config: KubernetesSourceConfig): Promise<Access> {
  // 90 MiB, which only those pay who have such a source.
  const { KubeConfig } = await import('@kubernetes/client-node');
  const kube = new KubeConfig();
  try {
    load(kube, config);
  } catch (cause) {
    const { kubeconfig } = config;
    throw new InventoryError('source-unreachable', `${kubeconfig} is no usable kubeconfig`, {
      field: 'kubeconfig',
      value: kubeconfig,
      cause,
    });
  }
  const cluster = kube.getCurrentCluster();
  if (cluster === null) {
    throw new InventoryError('source-unreachable', 'the context names no cluster', {
      field: config.context === undefined ? 'kubeconfig' : 'context',
      value: config.context ?? config.kubeconfig,
      hint: `contexts are ${kube
        .getContexts()
        .map(({ name }) => name)
        .join(', ')}`,
    });
  }
  return {
    server: cluster.server,
    async identify(options) {
      await kube.applyToHTTPSOptions(options as never);
      // The library sends a token file as it is, and files end in a newline, which no header may.
      const headers = options.headers as Record<string, string>;
      const token = headers.Authorization;
      if (token !== undefined) headers.Authorization = token.trim();
    },
  };
}

function load(kube: KubeConfig, config: KubernetesSourceConfig): void {
  if (config.kubeconfig !== undefined) {
    kube.loadFromFile(config.kubeconfig);
    if (config.context !== undefined) kube.setCurrentContext(config.context);
    return;
  }
  const { caFile, server = '', tokenFile } = config;
  kube.loadFromClusterAndUser(
    { name: 'it', server, skipTLSVerify: false, ...(caFile === undefined ? {} : { caFile }) },
    {
      name: 'we',
      ...(tokenFile === undefined
        ? {}
        : { authProvider: { name: 'tokenFile', config: { tokenFile } } }),
    },
  );
}
