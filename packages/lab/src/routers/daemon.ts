import type { RouterPlan } from '../plan/types.ts';

/** One session as its router tells of it. */
export interface RouterSession {
  readonly remote: string;
  readonly asn: number | undefined;
  readonly established: boolean;
  /** The daemon's own word. */
  readonly state: string;
  /** Routes taken from the neighbour, all families together; undefined when the daemon does not say. */
  readonly received: number | undefined;
}

/** One BFD session as its router tells of it. */
export interface RouterBfd {
  readonly remote: string;
  readonly up: boolean;
  /** The daemon's own word. */
  readonly state: string;
}

export interface RouterProgram {
  readonly name: string;
  readonly argv: readonly string[];
  /** A file in the run directory that must be there before the next program starts. */
  readonly awaits?: string;
}

/**
 * What the lab knows of one routing daemon. Its programs run with their run directory at /run/bird and
 * /run/frr and their configuration at /etc/frr, in a mount namespace of the router's own, so that birdc,
 * vtysh and gobgp work in it without an option.
 */
export interface RouterDaemon {
  /** File names and their content, for a directory of the router's own. Pure. */
  config(plan: RouterPlan): Readonly<Record<string, string>>;
  programs(configDirectory: string): readonly RouterProgram[];
  /** A user that the directories must belong to; root if left out. */
  readonly owner?: string;
  readonly sessionsCommand: readonly string[];
  parseSessions(output: string): RouterSession[];
  /** Undefined when it has no BFD. */
  readonly bfd:
    | { readonly command: readonly string[]; parse(output: string): RouterBfd[] }
    | undefined;
  /** The protocol that its kernel routes bear; undefined when it installs none. */
  readonly kernelProtocol: string | undefined;
}
