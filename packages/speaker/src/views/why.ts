import type { Comparison, ExportOutcome, PolicyReason, RefusedWhy, Why } from '@causeway/bgp';
import { Prefix } from '@causeway/ip';
import type { NotInstalled } from '../kernel/plan.ts';
import type { Engine } from '../runtime/engine.ts';
import { type AttributesView, attributesView, type RouteView, routeView } from './route.ts';

/** Everything about one prefix: each path, why it is or is not best, whom it goes to, and the kernel. */
export interface WhyView {
  readonly family: string;
  readonly prefix: string;
  readonly paths: readonly {
    readonly route: RouteView;
    readonly lostTo?: { readonly peer: string; readonly comparison: Comparison };
    readonly importPolicy?: PolicyReason;
    readonly refused?: RefusedWhy;
  }[];
  readonly exports: readonly {
    readonly peer: string;
    readonly outcome: ExportOutcome;
    readonly policy?: PolicyReason;
    readonly sent?: AttributesView & { readonly nextHop: string };
  }[];
  readonly kernel:
    | { readonly installed: true; readonly hops: readonly string[]; readonly error?: string }
    | {
        readonly installed: false;
        readonly why: NotInstalled | 'local' | 'no-best-path' | 'refused-by-kernel' | 'pending';
        readonly error?: string;
      };
}

export function whyView(why: Why, engine: Engine): WhyView {
  return {
    family: why.family,
    prefix: why.prefix,
    paths: why.paths.map(({ route, ...rest }) => ({ ...rest, route: routeView(route) })),
    exports: why.exports.map(({ sent, ...rest }) => ({
      ...rest,
      ...(sent === undefined
        ? {}
        : { sent: { nextHop: sent.nextHop, ...attributesView(sent.attributes) } }),
    })),
    kernel: kernelOf(why, engine),
  };
}

function kernelOf(why: Why, engine: Engine): WhyView['kernel'] {
  const best = why.paths.find(({ route }) => route.best)?.route;
  if (best === undefined) return { installed: false, why: 'no-best-path' };
  if (best.peer.startsWith('local:')) return { installed: false, why: 'local' };
  const known = engine.kernel.explain(Prefix.parse(why.prefix));
  if (known === undefined) {
    const none = engine.settings.kernel.mode === 'none';
    return { installed: false, why: none ? 'mode-none' : 'pending' };
  }
  const { plan, installed, error } = known;
  const withError = error === undefined ? {} : { error };
  if (plan.type === 'leave') return { installed: false, why: plan.why, ...withError };
  if (!installed)
    return {
      installed: false,
      why: error === undefined ? 'pending' : 'refused-by-kernel',
      ...withError,
    };
  return { installed: true, hops: plan.hops.map((hop) => engine.hopText(hop)), ...withError };
}
