import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { imageArchive } from './image.ts';
import { tar } from './tar.ts';

const listed = (archive: Buffer, ...flags: string[]) => {
  const { status, stdout, stderr } = spawnSync('tar', [...flags, '-tvf', '-'], { input: archive });
  assert.equal(status, 0, String(stderr));
  return String(stdout);
};

test('GNU tar reads what we write: files, directories, links, odd sizes', () => {
  const sizes = [0, 1, 511, 512, 513];
  const text = listed(
    tar([
      { path: 'd/', mode: 0o755 },
      { path: 'd/link', mode: 0o777, link: 'f0' },
      ...sizes.map((size) => ({
        path: `d/f${size}`,
        mode: 0o600,
        content: Buffer.alloc(size, 'x'),
      })),
    ]),
  );
  assert.match(text, /^drwxr-xr-x .* d\/$/m);
  assert.match(text, /^lrwxrwxrwx .* d\/link -> f0$/m);
  for (const size of sizes) {
    assert.match(text, new RegExp(`^-rw------- 0/0 +${size} 1970-01-01 .* d/f${size}$`, 'm'));
  }
  assert.throws(() => tar([{ path: 'x'.repeat(101), mode: 0 }]), RangeError);
});

test('an image is the same bytes each time and holds what its index names', () => {
  const archive = imageArchive('localhost/x:1');
  assert.ok(archive.equals(imageArchive('localhost/x:1')));
  const text = listed(archive);
  assert.equal(text.match(/blobs\/sha256\/[0-9a-f]{64}$/gm)?.length, 3);
  assert.match(text, /oci-layout$/m);
});
