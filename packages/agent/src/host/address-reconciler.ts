import { Address } from '@causeway/ip';
import { type RtRequest, type RtSocket, request } from '@causeway/linux';
import type { Operations, Target } from '@causeway/tables';
import { HOST_DEVICE } from './names.ts';
import type { DesiredAddress } from './tables.ts';

/** The gateway addresses on the node's own device. */
export function addressOperations(socket: RtSocket): Operations<DesiredAddress, string> {
  const indexOf = (device: string): number => {
    const link = socket.link({ name: device });
    if (link === undefined) throw new Error(`the device ${device} does not exist yet`);
    return link.index;
  };
  const add = (row: DesiredAddress): RtRequest =>
    request.addAddress({
      ifindex: indexOf(row.device),
      address: Address.toBytes(row.address),
      prefixLength: Address.width(Address.family(row.address)),
      noDad: Address.isIPv6(row.address),
      noPrefixRoute: true,
      replace: true,
    });
  const remove = (ifindex: number, address: Address): RtRequest =>
    request.deleteAddress({
      ifindex,
      address: Address.toBytes(address),
      prefixLength: Address.width(Address.family(address)),
    });
  const present = (ifindex: number): Set<Address> =>
    new Set(socket.addresses({ ifindex }).map(({ address }) => Address.fromBytes(address)));

  return {
    async update(batch: readonly Target<DesiredAddress, string>[]) {
      const have = present(indexOf(HOST_DEVICE));
      const missing = batch.map(({ row }) => !have.has(row.address));
      const wanted = batch.filter((_, index) => missing[index]);
      const results = socket.tryApply(wanted.map(({ row }) => add(row)));
      let next = 0;
      return missing.map((is) => (is ? results[next++] : undefined));
    },
    async delete(batch) {
      const link = socket.link({ name: HOST_DEVICE });
      if (link === undefined) return;
      const have = present(link.index);
      for (const { row } of batch) {
        if (have.has(row.address)) socket.apply(remove(link.index, row.address));
      }
    },
    async prune(rows) {
      const link = socket.link({ name: HOST_DEVICE });
      if (link === undefined) return;
      const wanted = new Set(rows.map(({ address }) => address));
      for (const address of present(link.index)) {
        if (!wanted.has(address) && !Address.isLinkLocal(address))
          socket.apply(remove(link.index, address));
      }
    },
  };
}
