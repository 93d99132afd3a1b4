/**
 * What a node is without Causeway: the same links (two nodes on a bridge in a rack's namespace), pods on
 * veths, and the kernel's own forwarding with static routes. The reference that no eBPF touches.
 */
import { execFileSync } from 'node:child_process';
import { takeAwayOnInterrupt } from './interrupt.ts';
import type { Place } from './traffic.ts';

export interface PlainSite extends AsyncDisposable {
  readonly nodes: readonly [Place, Place];
  readonly pods: readonly [Place, Place];
  readonly nodeAddresses: readonly [string, string];
  readonly podAddresses: readonly [string, string];
}

/** Builds it, IPv4 or IPv6; names carry the process id. Disposing takes all of it away. */
export function plainSite(family: 'ipv4' | 'ipv6'): PlainSite {
  const tag = `cwplain${process.pid}${family === 'ipv4' ? 'a' : 'b'}`;
  const names = ['rack', 'n0', 'n1', 'p0', 'p1'].map((name) => `${tag}.${name}`);
  const [rack = '', ...rest] = names;
  const nodes = rest.slice(0, 2);
  const pods = rest.slice(2);
  const six = family === 'ipv6';
  const node = (index: number): string => (six ? `fd99::${index + 1}` : `192.168.99.${index + 1}`);
  const pod = (index: number): string => (six ? `fd99:${index + 1}::5` : `10.99.${index + 1}.5`);
  const gateway = (index: number): string =>
    six ? `fd99:${index + 1}::1` : `10.99.${index + 1}.1`;
  const remove = (): void => {
    for (const name of names) {
      try {
        execFileSync('ip', ['netns', 'del', name], { stdio: 'ignore' });
      } catch {
        // It was never made, or is gone already: both are the wanted end.
      }
    }
  };
  const done = takeAwayOnInterrupt(remove);
  const ip = (words: string): void => {
    execFileSync('ip', words.split(' '), { stdio: ['ignore', 'ignore', 'pipe'] });
  };
  const length = six ? 128 : 32;
  const any = six ? '-6 ' : '';
  try {
    for (const name of names) ip(`netns add ${name}`);
    ip(`-n ${rack} link add br0 type bridge`);
    ip(`-n ${rack} link set br0 up`);
    nodes.forEach((name, index) => {
      ip(`link add eth0 netns ${name} type veth peer name port${index} netns ${rack}`);
      ip(`-n ${rack} link set port${index} master br0 up`);
      ip(`-n ${name} addr add ${node(index)}/${six ? '64 nodad' : '24'} dev eth0`);
      ip(`-n ${name} link set eth0 up`);
      ip(`-n ${name} link set lo up`);
      ip(`link add pod netns ${name} type veth peer name eth0 netns ${pods[index]}`);
      ip(`-n ${name} addr add ${gateway(index)}/${length}${six ? ' nodad' : ''} dev pod`);
      ip(`-n ${name} link set pod up`);
      ip(`-n ${pods[index]} link set lo up`);
      ip(`-n ${pods[index]} addr add ${pod(index)}/${length}${six ? ' nodad' : ''} dev eth0`);
      ip(`-n ${pods[index]} link set eth0 up`);
      ip(`-n ${pods[index]} ${any}route add ${gateway(index)} dev eth0`);
      ip(`-n ${pods[index]} ${any}route add default via ${gateway(index)} dev eth0`);
      ip(`-n ${name} ${any}route add ${pod(index)} dev pod`);
      ip(`-n ${name} ${any}route add ${pod(1 - index)} via ${node(1 - index)}`);
      const knob = six ? 'net.ipv6.conf.all.forwarding=1' : 'net.ipv4.ip_forward=1';
      execFileSync('ip', ['netns', 'exec', name, 'sysctl', '-qw', knob]);
    });
  } catch (error) {
    remove();
    throw error;
  }
  const place = (name = ''): Place => ['ip', 'netns', 'exec', name];
  return {
    nodes: [place(nodes[0]), place(nodes[1])],
    pods: [place(pods[0]), place(pods[1])],
    nodeAddresses: [node(0), node(1)],
    podAddresses: [pod(0), pod(1)],
    async [Symbol.asyncDispose]() {
      remove();
      done();
    },
  };
}
