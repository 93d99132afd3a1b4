import type { Link } from '../../../../testing/link.ts';

/** Whose token: one who may read, one who may nothing, or a reader's that expires so many seconds from now. */
export type TokenOwner = 'reader' | 'nobody' | { readonly seconds: number };

export interface PodInTest {
  readonly namespace: string;
  readonly name: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly addresses: readonly string[];
  readonly hostNetwork?: boolean;
  readonly phase?: 'Running' | 'Succeeded' | 'Failed';
  /** A ReplicaSet's name. */
  readonly owner?: string;
}

/** A Kubernetes API server as the tests of a reader of one need it: the real one, and a stand-in of it. */
export interface KubeCluster extends AsyncDisposable {
  /** Between readers and the server; `url` leads through it. */
  readonly link: Link;
  readonly url: string;
  /** Files of the authority, of a client certificate that may read, and its key. */
  readonly files: { readonly ca: string; readonly cert: string; readonly key: string };
  token(who: TokenOwner): string;
  /** Creates it, or adds labels. */
  setNamespace(name: string, labels: Readonly<Record<string, string>>): Promise<void>;
  /** Creates it, or gives it another status; its UID. */
  setPod(pod: PodInTest): Promise<string>;
  setLabels(
    namespace: string,
    pod: string,
    labels: Readonly<Record<string, string>>,
  ): Promise<void>;
  removePod(namespace: string, name: string): Promise<void>;
  removeAllPods(namespace: string): Promise<void>;
  /** No list that began before now can go on. */
  compact(): Promise<void>;
  /** No watch can start from before now, either: as after a compaction and a restart. */
  forget(): Promise<void>;
  /** The server dies at once and comes back with what it had. */
  restart(): Promise<void>;
}
