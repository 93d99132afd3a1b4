/** How etcd and its proxy are started so that they are reached by certificate. Who starts them is the site. */

/** Files of a `StoreDirectory`. */
export interface ServerFiles {
  readonly server: { readonly certificate: string; readonly key: string };
  /** The authorities whose client certificates are taken. */
  readonly trust: string;
  readonly revoked: string;
}

/** Options of etcd (3.4 and later) for its client listener. Certificates and revocations are read at each handshake, `trust` once. */
export const etcdTlsArguments = ({ server, trust, revoked }: ServerFiles): readonly string[] => [
  '--client-cert-auth',
  ...['--cert-file', server.certificate],
  ...['--key-file', server.key],
  ...['--trusted-ca-file', trust],
  ...['--client-crl-file', revoked],
];

export interface ProxyOptions {
  /** `HOST:PORT` at which the peer's readers find it. */
  readonly listen: string;
  /** The store's own endpoints. */
  readonly endpoints: readonly string[];
  /** `HOST:PORT` of its metrics and health, for a management network; none if absent. */
  readonly metrics?: string;
  /** Where it keeps what little it has. */
  readonly dataDir: string;
}

export interface ProxyFiles {
  readonly server: { readonly certificate: string; readonly key: string };
  /** The authority that signs this peer's clients, and no others'. */
  readonly clients: string;
  readonly revoked: string;
  /** The client certificate that carries the peer's user to the store. */
  readonly own: { readonly certificate: string; readonly key: string };
  readonly trust: string;
}

/**
 * Arguments of `etcd` for one peer's proxy: however many nodes the peer has, the store sees one watch of each range.
 * All that comes through it is the peer's user to the store; so it takes this peer's client certificates only.
 */
export const proxyArguments = (files: ProxyFiles, options: ProxyOptions): readonly string[] => [
  ...['grpc-proxy', 'start'],
  ...['--endpoints', options.endpoints.join(',')],
  ...['--listen-addr', options.listen],
  ...['--cert-file', files.server.certificate],
  ...['--key-file', files.server.key],
  ...['--trusted-ca-file', files.clients],
  ...['--client-crl-file', files.revoked],
  ...['--cacert', files.trust],
  ...['--cert', files.own.certificate],
  ...['--key', files.own.key],
  ...['--data-dir', options.dataDir],
  ...(options.metrics === undefined ? [] : ['--metrics-addr', options.metrics]),
];

/** A command as a shell takes it, one option a line. */
export function shellText(command: string, args: readonly string[]): string {
  const words = args.map((arg) =>
    /^[\w./:=,@%+-]+$/.test(arg) ? arg : `'${arg.replaceAll("'", "'\\''")}'`,
  );
  return [command, ...words].join(' ').replaceAll(' --', ' \\\n  --');
}

/** A systemd unit for one peer's proxy. */
export function proxyUnit(peer: string, args: readonly string[]): string {
  // A percent sign begins a specifier in units.
  const command = ['/usr/bin/etcd', ...args].map((arg) => arg.replaceAll('%', '%%')).join(' ');
  return `[Unit]
Description=Way of cluster ${peer} to this cluster's store
After=network-online.target
Wants=network-online.target

[Service]
ExecStart=${command}
Restart=always
RestartSec=2
StateDirectory=causeway-mesh-proxy/${peer}
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes

[Install]
WantedBy=multi-user.target
`;
}
