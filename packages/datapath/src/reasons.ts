/** How a counted or reported packet fared. */
export type ReasonKind = 'drop' | 'way' | 'decision';

export interface Reason {
  /** enum reason of bpf/lib/drop_reasons.h, where numbers are never used twice. */
  readonly number: number;
  /** Stable name for metrics, events and tests. */
  readonly name: string;
  readonly kind: ReasonKind;
  readonly sentence: string;
}

const reason = (number: number, name: string, kind: ReasonKind, sentence: string): Reason =>
  Object.freeze({ number, name, kind, sentence });

/** The one list, mirrored in C; a test compares. */
export const REASONS: readonly Reason[] = Object.freeze([
  reason(1, 'malformed', 'drop', 'a header is cut short or impossible'),
  reason(2, 'unsupported-protocol', 'drop', 'neither IPv4, IPv6 nor ARP'),
  reason(3, 'family-disabled', 'drop', 'this address family is switched off on this node'),
  reason(4, 'spoofed-source', 'drop', 'the source address is not one of the sender’s'),
  reason(5, 'policy-deny', 'drop', 'a deny rule of a policy matches'),
  reason(6, 'policy-default', 'drop', 'the endpoint is under policy and no rule allows this'),
  reason(7, 'protected', 'drop', 'the destination is a socket of the infrastructure'),
  reason(8, 'fragment-unknown', 'drop', 'a fragment came before the first of its packet'),
  reason(9, 'extension-headers', 'drop', 'too many IPv6 extension headers'),
  reason(10, 'no-backend', 'drop', 'the service has no backend; the sender was told'),
  reason(11, 'nat-no-port', 'drop', 'no source port was free for masquerading'),
  reason(12, 'nat-no-address', 'drop', 'the device has no address to masquerade with'),
  reason(13, 'ttl-exceeded', 'drop', 'the hop limit ran out; the sender was told'),
  reason(14, 'too-big', 'drop', 'larger than the way allows; the sender was told'),
  reason(15, 'tunnel-key', 'drop', 'the tunnel header could not be read or set'),
  reason(
    16,
    'tunnel-identity',
    'drop',
    'the tunnel header bears an identity that cannot come from outside',
  ),
  reason(17, 'write-failed', 'drop', 'the packet could not be rewritten'),
  reason(18, 'no-endpoint', 'drop', 'no such pod on this node'),
  reason(19, 'conntrack-full', 'drop', 'the connection could not be entered into conntrack'),
  reason(20, 'multicast', 'drop', 'multicast and broadcast do not leave a pod'),
  reason(21, 'link-local', 'drop', 'link-local addresses do not leave a pod'),
  reason(22, 'neighbour-quiet', 'drop', 'neighbour or listener message that needs no answer'),
  reason(23, 'not-external', 'drop', 'the service is not open to clients outside of the cluster'),
  reason(24, 'source-range', 'drop', 'the client is in none of the service’s source ranges'),
  reason(
    25,
    'no-local-backend',
    'drop',
    'the service takes clients outside to backends of this node only, and has none here',
  ),
  reason(26, 'no-such-port', 'drop', 'the virtual address has no such port; the sender was told'),
  reason(27, 'no-egress-gateway', 'drop', 'the pod leaves by an egress gateway, and none is alive'),
  reason(28, 'no-route', 'drop', 'this node has no route to the backend that was chosen'),
  reason(
    29,
    'tunnel-source',
    'drop',
    'the identity in the tunnel header is not the source’s, and the source is not of the host that sent it',
  ),
  reason(128, 'to-pod', 'way', 'delivered to a pod of this node'),
  reason(129, 'to-host', 'way', 'delivered to this node itself'),
  reason(130, 'to-stack', 'way', 'handed to the node’s network stack'),
  reason(131, 'native', 'way', 'sent out by the routing table'),
  reason(132, 'tunnel', 'way', 'sent out encapsulated'),
  reason(133, 'answered', 'way', 'answered by the datapath itself'),
  reason(134, 'masqueraded', 'way', 'sent out with the device’s address'),
  reason(135, 'forward-snat', 'way', 'sent on to a backend elsewhere under the node’s address'),
  reason(136, 'forward-dsr', 'way', 'sent on to a backend elsewhere, which answers the client'),
  reason(137, 'egress-gateway', 'way', 'sent to or out by the egress gateway'),
  reason(138, 'edge-xdp', 'way', 'sent on to a backend elsewhere before the stack saw it'),
  reason(160, 'policy-allow', 'decision', 'a rule allows the connection'),
  reason(161, 'policy-audit', 'decision', 'passes on trial: policy would drop the connection'),
  reason(162, 'policy-unenforced', 'decision', 'no policy applies'),
  reason(163, 'service-selected', 'decision', 'a backend was chosen for a connection'),
  reason(164, 'tcp-midstream', 'decision', 'a TCP connection was taken up without its SYN'),
  reason(165, 'socket-translated', 'decision', 'a socket was given a backend at connect or send'),
  reason(
    166,
    'socket-refused',
    'decision',
    'a connect or send was refused: the service has no backend',
  ),
  reason(167, 'event-suppressed', 'decision', 'drop events left out by the rate limit'),
  reason(168, 'event-lost', 'decision', 'events lost for want of room in the ring'),
  reason(169, 'masquerade-new', 'decision', 'a port was given to a masqueraded connection'),
  reason(170, 'service-affinity', 'decision', 'the client stays with the backend that it had'),
  reason(171, 'dsr-accepted', 'decision', 'a connection came in that is answered directly'),
]);

const byNumber = new Map(REASONS.map((each) => [each.number, each]));

/** A number of a newer kernel program is shown as it is. */
export function reasonOf(number: number): Reason {
  return (
    byNumber.get(number) ??
    reason(
      number,
      `reason-${number}`,
      number < 128 ? 'drop' : 'decision',
      `unknown reason ${number}`,
    )
  );
}
