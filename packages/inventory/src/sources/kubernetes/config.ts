import { absolutePath } from '@causeway/daemon/fields';
import { z } from 'zod';
import { commonSource } from '../common-config.ts';

/** The pods of a Kubernetes cluster whose CNI is not in the mesh. It needs `get`, `list`, `watch` on pods and namespaces. */
export const kubernetesSource = z
  .strictObject({
    type: z.literal('kubernetes'),
    ...commonSource,
    /** Every way to say who asks that kubectl knows, programs that fetch tokens among them. */
    kubeconfig: absolutePath.optional(),
    /** Of the kubeconfig; its current one if absent. */
    context: z.string().min(1).optional(),
    /** In place of a kubeconfig. */
    server: z.url({ protocol: /^https?$/, error: 'must be an http or https URL' }).optional(),
    caFile: absolutePath.optional(),
    /** Read again every minute. */
    tokenFile: absolutePath.optional(),
    /** As Kubernetes writes it: `app=web,tier!=test`. Others' pods are not even asked for. */
    labelSelector: z.string().max(4096).optional(),
    /** Their hosts take tunnels: hostIP becomes the node address. */
    tunnelToHosts: z.boolean().default(false),
    /** How often everything is listed again although nothing was lost. */
    resyncSeconds: z.number().min(1).max(86_400).default(1800),
    /** Objects in one answer. */
    pageSize: z.int().min(1).max(5000).default(500),
  })
  .superRefine((config, context) => {
    const { kubeconfig, server } = config;
    if ((kubeconfig === undefined) === (server === undefined)) {
      context.addIssue({
        code: 'custom',
        path: ['kubeconfig'],
        message: 'must be set unless server is, and not both',
        input: kubeconfig,
      });
    }
    for (const field of ['caFile', 'tokenFile'] as const) {
      if (kubeconfig === undefined || config[field] === undefined) continue;
      context.addIssue({
        code: 'custom',
        path: [field],
        message: 'must be absent with kubeconfig, which says it',
        input: config[field],
      });
    }
    if (config.context !== undefined && kubeconfig === undefined) {
      context.addIssue({
        code: 'custom',
        path: ['context'],
        message: 'needs a kubeconfig',
        input: config.context,
      });
    }
  });

export type KubernetesSourceConfig = z.infer<typeof kubernetesSource>;
