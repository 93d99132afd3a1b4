import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { LabError } from '../errors.ts';
import { type TarEntry, tar } from './tar.ts';

/** Debian's busybox-static: one program without libraries is a whole container image. */
const BUSYBOX = '/bin/busybox';
const APPLETS =
  'sh cat echo env hostname ip ls nc nslookup ping ping6 sleep sync tail test true wget httpd'.split(
    ' ',
  );

/** Runs for ever and ends at once on SIGTERM, which PID 1 ignores unless it asks for it. */
export const IDLE_COMMAND = [
  '/bin/sh',
  '-c',
  'trap exit TERM; while :; do sleep 3600 & wait $!; done',
];

function files(): TarEntry[] {
  let busybox: Buffer;
  try {
    busybox = readFileSync(BUSYBOX);
  } catch (cause) {
    throw new LabError('platform-missing', `${BUSYBOX} cannot be read`, {
      value: BUSYBOX,
      hint: "install Debian's busybox-static",
      cause,
    });
  }
  return [
    ...['bin/', 'etc/', 'proc/', 'sys/', 'dev/', 'tmp/'].map((path) => ({ path, mode: 0o755 })),
    { path: 'bin/busybox', mode: 0o755, content: busybox },
    ...APPLETS.map((name) => ({ path: `bin/${name}`, mode: 0o777, link: 'busybox' })),
    { path: 'etc/passwd', mode: 0o644, content: Buffer.from('root:x:0:0:root:/:/bin/sh\n') },
  ];
}

/** Lays busybox out as a root file system, for runtimes that take a directory. */
export function writeRootfs(directory: string): void {
  for (const { path, mode, content, link } of files()) {
    const target = join(directory, path);
    mkdirSync(path.endsWith('/') ? target : dirname(target), { recursive: true });
    if (link !== undefined) symlinkSync(link, target);
    else if (content !== undefined) writeFileSync(target, content, { mode });
  }
}

/**
 * busybox as an image archive in OCI's layout (image-spec 1.0: image-layout, manifest, config), named `reference`.
 * What runs in it by default is `IDLE_COMMAND`, so that it serves as a sandbox image too.
 */
export function imageArchive(reference: string): Buffer {
  const blobs: TarEntry[] = [];
  const blob = (content: Buffer, mediaType: string) => {
    const hex = createHash('sha256').update(content).digest('hex');
    blobs.push({ path: `blobs/sha256/${hex}`, mode: 0o644, content });
    return { mediaType, digest: `sha256:${hex}`, size: content.length };
  };
  const json = (value: unknown) => Buffer.from(JSON.stringify(value));
  const layer = blob(tar(files()), 'application/vnd.oci.image.layer.v1.tar');
  const config = blob(
    json({
      architecture: process.arch === 'x64' ? 'amd64' : process.arch,
      os: 'linux',
      config: { Cmd: IDLE_COMMAND, Env: ['PATH=/bin'] },
      rootfs: { type: 'layers', diff_ids: [layer.digest] },
    }),
    'application/vnd.oci.image.config.v1+json',
  );
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = blob(json({ schemaVersion: 2, mediaType, config, layers: [layer] }), mediaType);
  const index = {
    schemaVersion: 2,
    manifests: [
      {
        ...manifest,
        annotations: {
          'io.containerd.image.name': reference,
          'org.opencontainers.image.ref.name': reference,
        },
      },
    ],
  };
  return tar([
    { path: 'oci-layout', mode: 0o644, content: json({ imageLayoutVersion: '1.0.0' }) },
    { path: 'index.json', mode: 0o644, content: json(index) },
    { path: 'blobs/', mode: 0o755 },
    { path: 'blobs/sha256/', mode: 0o755 },
    ...blobs,
  ]);
}
