/** Names of what the agent owns in the node's network namespace. Nothing else is ever touched. */
export const HOST_DEVICE = 'cw_host';
export const HOST_PEER = 'cw_net';
export const VXLAN_DEVICE = 'cw_vxlan';

const POD_DEVICE = /^cw[0-9a-f]{10}$/;

/** Host side of a pod's veth, as the agent itself names it. */
export const isPodDevice = (name: string): boolean => POD_DEVICE.test(name);

export const isOwnDevice = (name: string): boolean =>
  name === HOST_DEVICE || name === HOST_PEER || name === VXLAN_DEVICE || isPodDevice(name);
