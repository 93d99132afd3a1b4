import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Address, Mac } from '@causeway/ip';
import { openDatapath } from '../index.ts';

// The README's example needs devices of that name: it is compiled here, and run by the kernel tests' sites.
export function example(): void {
  using datapath = openDatapath({
    bpffsRoot: '/sys/fs/bpf/causeway',
    config: {
      ipv4: true,
      ipv6: true,
      host: { ifindex: 3, mac: Mac.parse('02:00:00:00:00:03') },
      gateways: { ipv4: Address.parse('10.0.0.1'), ipv6: Address.parse('fd00::1') },
      masquerade: { ipv4: true, ipv6: false },
    },
  });
  datapath.enforcement.putEndpoint({
    address: Address.parse('10.0.0.2'),
    ifindex: 7,
    endpointId: 12,
    identity: 4711,
    policyId: 0,
    policyRevision: 1,
    mac: Mac.parse('02:00:00:00:01:02'),
    hostMac: Mac.parse('02:00:00:00:01:01'),
    ingress: 'off',
    egress: 'off',
  });
  datapath.attachPod('cw0123456789', 7);
  using events = datapath.readEvents((event) =>
    console.log(event.reason.name, event.source, event.rule),
  );
  events.drain();
}

test('the README shows this very example', () => {
  const squeeze = (text: string) => text.replace(/\s+|,(?=\s*[)}])/g, '');
  const readme = readFileSync(join(import.meta.dirname, '..', 'README.md'), 'utf8');
  const shown = /```ts\n([\s\S]*?)```/.exec(readme)![1]!.replace(/^import .*\n/gm, '');
  const own = readFileSync(import.meta.filename, 'utf8');
  const body = own.slice(own.indexOf('using datapath'), own.indexOf('  events.drain();'));
  assert.equal(squeeze(shown), squeeze(body));
});
