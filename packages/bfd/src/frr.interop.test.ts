import { type Foreign, foreignSuite } from '../testing/foreign-suite.ts';
import { startFrr } from '../testing/routers.ts';
import { far, ours, theirs } from '../testing/site.ts';

const peers = [
  `peer ${ours.ipv4} interface e0`,
  `peer ${ours.ipv6} local-address ${theirs.ipv6} interface e0`,
  `peer ${ours.linkLocal} local-address ${theirs.linkLocal} interface e0`,
  `peer ${far.ours.ipv4} multihop local-address ${far.theirs.ipv4}`,
  `peer ${far.ours.ipv6} multihop local-address ${far.theirs.ipv6}`,
];

const config: Foreign['config'] = (interval, multiplier) => `bfd
 profile them
  detect-multiplier ${multiplier}
  receive-interval ${interval}
  transmit-interval ${interval}
 exit
${peers.map((peer) => ` ${peer}\n  profile them${peer.includes('multihop') ? '\n  minimum-ttl 200' : ''}\n exit`).join('\n')}
exit
`;

const inProfile = (word: string) => ['configure terminal', 'bfd', 'profile them', word];

foreignSuite({
  name: 'FRR',
  minTtl: 250,
  saysAdminDown: true,
  start: startFrr,
  config,
  async disable(daemon) {
    await daemon.ask(...inProfile('shutdown'));
  },
  async enable(daemon) {
    await daemon.ask(...inProfile('no shutdown'));
  },
});
