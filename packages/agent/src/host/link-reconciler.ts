import { type Link, type RtSocket, request } from '@causeway/linux';
import type { Operations } from '@causeway/tables';
import { VXLAN_DEVICE } from './names.ts';
import type { DesiredLink } from './tables.ts';

/** Marks devices of ours, so that one of the same name by somebody else is not taken for ours. */
export const DEVICE_ALIAS = 'causeway node device';

/** Makes the node's own devices what the table says. */
export function linkOperations(socket: RtSocket): Operations<DesiredLink, string> {
  return {
    async update(batch) {
      return batch.map(({ row }) => attempt(() => bring(socket, row)));
    },
    async delete(batch) {
      return batch.map(({ row }) => attempt(() => remove(socket, row.name)));
    },
    async prune(rows) {
      // The tunnel device of an earlier configuration; pods' devices are the endpoints' own business.
      if (!rows.some((row) => row.name === VXLAN_DEVICE)) remove(socket, VXLAN_DEVICE);
    },
  };
}

function bring(socket: RtSocket, wanted: DesiredLink): void {
  let present = socket.link({ name: wanted.name });
  if (present !== undefined && !fits(present, wanted)) {
    assertOurs(present);
    socket.apply(request.deleteLink({ index: present.index }));
    present = undefined;
  }
  if (present === undefined) {
    create(socket, wanted);
    return;
  }
  if (present.mtu !== wanted.mtu || !present.up) {
    socket.apply(request.setLink({ index: present.index }, { mtu: wanted.mtu, up: true }));
  }
  if (wanted.type !== 'veth') return;
  const peer = socket.link({ name: wanted.peer });
  if (peer !== undefined && (peer.mtu !== wanted.mtu || !peer.up)) {
    socket.apply(request.setLink({ index: peer.index }, { mtu: wanted.mtu, up: true }));
  }
}

function create(socket: RtSocket, wanted: DesiredLink): void {
  if (wanted.type === 'veth') {
    // No address resolution on either side: from_host writes the destination of every frame itself.
    const settings = { mtu: wanted.mtu, up: true, noArp: true, addressGeneration: 'none' } as const;
    socket.apply(
      request.createVeth({
        name: wanted.name,
        alias: DEVICE_ALIAS,
        ...settings,
        peer: { name: wanted.peer, ...settings },
      }),
    );
    return;
  }
  socket.apply(
    request.createVxlan({
      name: wanted.name,
      alias: DEVICE_ALIAS,
      port: wanted.port,
      learning: false,
      udp6ZeroChecksum: true,
      mtu: wanted.mtu,
      up: true,
      addressGeneration: 'none',
    }),
  );
}

function fits(present: Link, wanted: DesiredLink): boolean {
  if (present.kind !== wanted.type) return false;
  if (wanted.type === 'veth') return true;
  if (present.data?.type !== 'vxlan') return false;
  const { port, collectMetadata } = present.data.vxlan;
  return port === wanted.port && collectMetadata === true;
}

function assertOurs(link: Link): void {
  if (link.alias === DEVICE_ALIAS) return;
  throw new Error(
    `the node has a device ${link.name} (${link.kind ?? 'no kind'}) that is not ours; rename or remove it`,
  );
}

function remove(socket: RtSocket, name: string): void {
  const present = socket.link({ name });
  if (present?.alias === DEVICE_ALIAS) socket.apply(request.deleteLink({ index: present.index }));
}

function attempt(work: () => void): Error | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    return error as Error;
  }
}
