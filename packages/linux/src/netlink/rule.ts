import { ByteReader, ByteWriter } from '@causeway/wire';
import { invalidArgument } from '../errors.ts';
import type { AddressBytes } from '../sockets.ts';
import { bytes, readAttributes, row, text, u8, u32, writeAttributes } from './attributes.ts';
import {
  checkPrefixLength,
  checkVersion,
  familyOf,
  fullLength,
  type IpVersion,
  versionOf,
} from './family.ts';
import { decoding, NlFlag, type RtRequest } from './message.ts';
import { writeRouteHeader } from './route.ts';
import { causewayProtocol } from './route-requests.ts';

// RTM_*RULE: struct fib_rule_hdr (laid out as struct rtmsg) and FRA_* of linux/fib_rules.h.

export const RuleType = { new: 32, delete: 33, get: 34 } as const;
const headerSize = 12;

export const ruleTable = {
  destination: row(1, bytes),
  source: row(2, bytes),
  inputInterface: row(3, text),
  priority: row(6, u32),
  mark: row(10, u32),
  table: row(15, u32),
  markMask: row(16, u32),
  outputInterface: row(17, text),
  protocol: row(21, u8),
} as const;

// FR_ACT_*
const actions = { lookup: 1, blackhole: 6, unreachable: 7, prohibit: 8 } as const;
export type RuleAction = keyof typeof actions;

export interface RuleSpec {
  readonly family: IpVersion;
  readonly priority: number;
  /** Of a lookup. */
  readonly table?: number;
  /** 'lookup' by default. */
  readonly action?: RuleAction;
  readonly mark?: number;
  readonly markMask?: number;
  readonly source?: AddressBytes;
  readonly sourceLength?: number;
  readonly destination?: AddressBytes;
  readonly destinationLength?: number;
  readonly inputInterface?: string;
  readonly outputInterface?: string;
  /** By default causewayProtocol; for deletion any. */
  readonly protocol?: number;
}

export interface Rule extends RuleSpec {
  readonly table: number;
}

export function addRule(spec: RuleSpec): RtRequest {
  return {
    type: RuleType.new,
    flags: NlFlag.create | NlFlag.exclusive,
    name: `new-rule ${spec.priority}`,
    body: body(spec, spec.protocol ?? causewayProtocol),
    schema: { headerSize, table: ruleTable },
  };
}

export function deleteRule(spec: RuleSpec): RtRequest {
  return {
    type: RuleType.delete,
    flags: 0,
    name: `delete-rule ${spec.priority}`,
    body: body(spec, spec.protocol),
    schema: { headerSize, table: ruleTable },
  };
}

function lengthOf(
  address: AddressBytes | undefined,
  length: number | undefined,
  family: IpVersion,
  field: string,
): number {
  if (address === undefined) return 0;
  checkVersion(address, family, field);
  const result = length ?? fullLength(family);
  checkPrefixLength(result, family, `${field}Length`);
  return result;
}

function body(spec: RuleSpec, protocol: number | undefined): Uint8Array {
  const action = spec.action ?? 'lookup';
  if (action === 'lookup' && spec.table === undefined) {
    throw invalidArgument('netlink', 'a lookup rule names its table', spec);
  }
  const writer = new ByteWriter('little');
  writeRouteHeader(writer, {
    family: familyOf(spec.family),
    prefixLength: lengthOf(spec.destination, spec.destinationLength, spec.family, 'destination'),
    sourceLength: lengthOf(spec.source, spec.sourceLength, spec.family, 'source'),
    table: spec.table ?? 0,
    type: actions[action],
  });
  writeAttributes(writer, ruleTable, {
    destination: spec.destination,
    source: spec.source,
    inputInterface: spec.inputInterface,
    priority: spec.priority,
    mark: spec.mark,
    table: spec.table,
    markMask: spec.markMask,
    outputInterface: spec.outputInterface,
    protocol,
  });
  return writer.finish();
}

/** The payload of an RTM_NEWRULE or RTM_DELRULE; undefined for families and actions not known here. */
export function decodeRule(payload: Uint8Array): Rule | undefined {
  return decoding(() => {
    const reader = new ByteReader(payload, 'little');
    const family = versionOf(reader.u8());
    const destinationLength = reader.u8();
    const sourceLength = reader.u8();
    reader.skip(1);
    const table = reader.u8();
    reader.skip(2);
    const number = reader.u8();
    reader.skip(4);
    const a = readAttributes(reader.rest(), ruleTable);
    const action = (Object.keys(actions) as RuleAction[]).find((name) => actions[name] === number);
    if (family === undefined || action === undefined) return undefined;
    return {
      family,
      priority: a.priority ?? 0,
      table: a.table ?? table,
      action,
      ...(a.mark !== undefined && { mark: a.mark }),
      ...(a.markMask !== undefined && { markMask: a.markMask }),
      ...(a.source !== undefined && { source: a.source, sourceLength }),
      ...(a.destination !== undefined && { destination: a.destination, destinationLength }),
      ...(a.inputInterface !== undefined && { inputInterface: a.inputInterface }),
      ...(a.outputInterface !== undefined && { outputInterface: a.outputInterface }),
      ...(a.protocol !== undefined && { protocol: a.protocol }),
    };
  });
}
