/** IFALIASZ is 256 with the final zero (linux/if.h). */
const MAX_ALIAS = 255;

/** What the host side of a pod's veth says of itself, so that it can be told from any other device. */
export interface EndpointAlias {
  readonly id: number;
  readonly containerId: string;
  readonly ifname: string;
  readonly podNamespace?: string | undefined;
  readonly podName?: string | undefined;
}

/**
 * The alias of the host side: `causeway 17 <container> eth0 shop/web-0`. It lets an endpoint be
 * found again when its state file is lost, and proves that a device of our name is ours.
 */
export function formatAlias(of: EndpointAlias): string {
  const short = `causeway ${of.id} ${of.containerId} ${of.ifname}`;
  if (of.podNamespace === undefined || of.podName === undefined) return short;
  const long = `${short} ${of.podNamespace}/${of.podName}`;
  return long.length <= MAX_ALIAS ? long : short;
}

export function parseAlias(alias: string | undefined): EndpointAlias | undefined {
  const match = /^causeway ([1-9]\d{0,4}) (\S+) ([^\s/]{1,15})(?: ([^\s/]+)\/([^\s/]+))?$/.exec(
    alias ?? '',
  );
  if (match === null) return undefined;
  const [, id, containerId, ifname, podNamespace, podName] = match;
  return { id: Number(id), containerId: containerId!, ifname: ifname!, podNamespace, podName };
}
