import { execFile } from 'node:child_process';
import { createPrivateKey, generateKeyPairSync, sign } from 'node:crypto';
import { accessSync, constants, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { EtcdProcess, freePort } from '@causeway/etcd/testing';
import { Authority } from '@causeway/pki';
import { Link } from '../../../../testing/link.ts';
import { Program, Scratch } from '../../../../testing/process.ts';
import { AdminClient } from './admin-client.ts';
import type { KubeCluster, PodInTest, TokenOwner } from './cluster.ts';

const run = promisify(execFile);
const ISSUER = 'https://kubernetes.test';
/** By so much the server takes a token for longer than it says. */
const LEEWAY_SECONDS = 60;
const HOME = 'causeway-test';
const BY_CERTIFICATE = 'reads-by-certificate';

/** Where tools/kube-apiserver.sh puts it, unless told otherwise. */
const BUILT = join(
  process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'),
  'causeway/kube-apiserver',
);

/** The program: $CAUSEWAY_KUBE_APISERVER, on the path, or as tools/kube-apiserver.sh built it. */
export function findKubeApiserver(): string | undefined {
  const { CAUSEWAY_KUBE_APISERVER: named, PATH = '' } = process.env;
  const places = named
    ? [named]
    : [...PATH.split(delimiter).map((each) => join(each, 'kube-apiserver')), BUILT];
  return places.find((each) => {
    try {
      accessSync(each, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/**
 * A real kube-apiserver with an etcd of its own, on loopback, with RBAC. No controllers and no kubelet run: what
 * those write, the test writes.
 */
export class KubeApiserver implements KubeCluster {
  readonly link: Link;
  readonly files: KubeCluster['files'];
  readonly #admin: AdminClient;
  readonly #scratch: Scratch;
  readonly #etcd: EtcdProcess;
  readonly #command: readonly string[];
  readonly #signingKey: string;
  readonly #uids = new Map<string, string>();
  #program: Program;
  #restarts = 0;

  private constructor(parts: {
    link: Link;
    files: KubeCluster['files'];
    admin: AdminClient;
    scratch: Scratch;
    etcd: EtcdProcess;
    command: readonly string[];
    signingKey: string;
  }) {
    this.link = parts.link;
    this.files = parts.files;
    this.#admin = parts.admin;
    this.#scratch = parts.scratch;
    this.#etcd = parts.etcd;
    this.#command = parts.command;
    this.#signingKey = parts.signingKey;
    this.#program = this.#spawn();
  }

  static async start(binary: string): Promise<KubeApiserver> {
    const scratch = new Scratch('kube-apiserver');
    const etcd = await EtcdProcess.start();
    const port = await freePort();
    const validity = { now: new Date(), days: 1 };
    const { authority } = await Authority.create('kubernetes', validity);
    const server = await authority.issueServer(['127.0.0.1'], validity);
    const client = await authority.issueClient(BY_CERTIFICATE, validity);
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const write = (name: string, text: string): string => {
      writeFileSync(scratch.file(name), text, { mode: 0o600 });
      return scratch.file(name);
    };
    const signingKey = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    const ca = write('ca.crt', authority.certificate);
    const adminToken = Math.random().toString(36).slice(2);
    const flags = {
      'etcd-servers': etcd.endpoint,
      'bind-address': '127.0.0.1',
      'secure-port': port,
      // Told nobody, since the next flag; without it a machine that has no default route is refused.
      'advertise-address': '192.0.2.1',
      // No addresses for the service "kubernetes": nobody here reaches it by that name.
      'endpoint-reconciler-type': 'none',
      'tls-cert-file': write('server.crt', server.certificate),
      'tls-private-key-file': write('server.key', server.key),
      'client-ca-file': ca,
      'token-auth-file': write('tokens', `${adminToken},admin,admin,system:masters\n`),
      'authorization-mode': 'RBAC',
      'service-account-issuer': ISSUER,
      'service-account-signing-key-file': write('sa.key', signingKey),
      'service-account-key-file': write(
        'sa.pub',
        publicKey.export({ type: 'spki', format: 'pem' }).toString(),
      ),
      'service-cluster-ip-range': '10.96.0.0/16',
      // It would wait for tokens that a controller makes.
      'disable-admission-plugins': 'ServiceAccount',
      // Off by itself up to 1.20; newer ones no longer know it.
      'feature-gates': 'IPv6DualStack=true',
    };
    const command = [binary, ...Object.entries(flags).map(([name, value]) => `--${name}=${value}`)];
    const cluster = new KubeApiserver({
      link: await Link.to(`127.0.0.1:${port}`),
      files: {
        ca,
        cert: write('client.crt', client.certificate),
        key: write('client.key', client.key),
      },
      admin: new AdminClient(port, authority.certificate, adminToken),
      ...{ scratch, etcd, command, signingKey },
    });
    try {
      await cluster.#ready();
      await cluster.#admit();
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
    return cluster;
  }

  get url(): string {
    return `https://${this.link.host}`;
  }

  #spawn(): Program {
    return new Program(`kube-apiserver-${++this.#restarts}`, this.#scratch, this.#command);
  }

  #ready(): Promise<void> {
    return this.#program.ready(async () => (await this.#admin.text('/readyz')) === 'ok');
  }

  /** A service account and a certificate that may read, and an account that may nothing. */
  async #admit(): Promise<void> {
    const admin = this.#admin;
    await admin.create('/api/v1/namespaces', { metadata: { name: HOME } });
    for (const name of ['reader', 'nobody']) {
      const path = `/api/v1/namespaces/${HOME}/serviceaccounts`;
      const { metadata } = await admin.create(path, { metadata: { name } });
      this.#uids.set(name, metadata.uid);
    }
    const rbac = '/apis/rbac.authorization.k8s.io/v1';
    await admin.create(`${rbac}/clusterroles`, {
      metadata: { name: 'causeway-inventory' },
      rules: [
        { apiGroups: [''], resources: ['pods', 'namespaces'], verbs: ['get', 'list', 'watch'] },
      ],
    });
    await admin.create(`${rbac}/clusterrolebindings`, {
      metadata: { name: 'causeway-inventory' },
      roleRef: {
        apiGroup: 'rbac.authorization.k8s.io',
        kind: 'ClusterRole',
        name: 'causeway-inventory',
      },
      subjects: [
        { kind: 'ServiceAccount', namespace: HOME, name: 'reader' },
        { kind: 'User', apiGroup: 'rbac.authorization.k8s.io', name: BY_CERTIFICATE },
      ],
    });
  }

  /** As the server itself would issue it, but for as long as the test likes: at least ten minutes are its rule. */
  token(who: TokenOwner): string {
    const [name, seconds] = typeof who === 'string' ? [who, 86_400] : ['reader', who.seconds];
    const now = Math.floor(Date.now() / 1000);
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const claims = {
      iss: ISSUER,
      aud: [ISSUER],
      sub: `system:serviceaccount:${HOME}:${name}`,
      iat: now - 600,
      nbf: now - 600,
      exp: now + seconds - LEEWAY_SECONDS,
      'kubernetes.io': {
        namespace: HOME,
        serviceaccount: { name, uid: this.#uids.get(name) },
      },
    };
    const body = `${part({ alg: 'RS256' })}.${part(claims)}`;
    const key = createPrivateKey(this.#signingKey);
    return `${body}.${sign('sha256', Buffer.from(body), key).toString('base64url')}`;
  }

  async setNamespace(name: string, labels: Readonly<Record<string, string>>): Promise<void> {
    const done = await this.#admin.merge(`/api/v1/namespaces/${name}`, { metadata: { labels } });
    if (!done) await this.#admin.create('/api/v1/namespaces', { metadata: { name, labels } });
  }

  async setPod(pod: PodInTest): Promise<string> {
    const { addresses, labels, name, namespace, owner } = pod;
    const path = `/api/v1/namespaces/${namespace}/pods`;
    const status = {
      phase: pod.phase ?? 'Running',
      hostIP: '192.0.2.1',
      podIP: addresses[0] ?? null,
      podIPs: addresses.map((ip) => ({ ip })),
    };
    const setStatus = () => this.#admin.merge(`${path}/${name}/status`, { status });
    const old = await setStatus();
    if (old) return old.metadata.uid;
    const controller = { apiVersion: 'apps/v1', kind: 'ReplicaSet', controller: true };
    const { metadata } = await this.#admin.create(path, {
      metadata: {
        ...{ name, labels: labels ?? {} },
        ...(owner && { ownerReferences: [{ ...controller, name: owner, uid: `uid-of-${owner}` }] }),
      },
      spec: {
        nodeName: 'n1',
        serviceAccountName: 'default',
        hostNetwork: pod.hostNetwork ?? false,
        containers: [{ name: 'main', image: 'example/main' }],
      },
    });
    // As a kubelet does: first it is there, and has an address some time later.
    await setStatus();
    return metadata.uid;
  }

  async setLabels(
    namespace: string,
    pod: string,
    labels: Readonly<Record<string, string>>,
  ): Promise<void> {
    const path = `/api/v1/namespaces/${namespace}/pods/${pod}`;
    await this.#admin.merge(path, { metadata: { labels } });
  }

  /** First the wish, which changes nothing for its traffic, then the end of it. */
  async removePod(namespace: string, name: string): Promise<void> {
    const path = `/api/v1/namespaces/${namespace}/pods/${name}`;
    await this.#admin.remove(path);
    await this.#admin.remove(`${path}?gracePeriodSeconds=0`);
  }

  async removeAllPods(namespace: string): Promise<void> {
    await this.#admin.remove(`/api/v1/namespaces/${namespace}/pods?gracePeriodSeconds=0`);
  }

  async compact(): Promise<void> {
    const ctl = (...args: string[]) =>
      run('etcdctl', ['--endpoints', this.#etcd.endpoint, ...args], {
        env: { ...process.env, ETCDCTL_API: '3' },
      });
    // It keeps the newest revision readable, so that one more makes those before it unreadable.
    await ctl('put', 'causeway-test/turn', 'x');
    const { stdout } = await ctl('put', 'causeway-test/turn', 'y', '-w', 'json');
    const { header } = JSON.parse(stdout) as { header: { revision: number } };
    await ctl('compact', String(header.revision));
  }

  /** Its cache of what was begins with the start. */
  async forget(): Promise<void> {
    await this.compact();
    await this.restart();
  }

  async restart(): Promise<void> {
    await this.#program[Symbol.asyncDispose]();
    this.#admin.close();
    this.#program = this.#spawn();
    await this.#ready();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#admin.close();
    await this.link[Symbol.asyncDispose]();
    await this.#program[Symbol.asyncDispose]();
    await this.#etcd[Symbol.asyncDispose]();
    this.#scratch[Symbol.dispose]();
  }
}
