import { randomUUID } from 'node:crypto';
import { admitPeer, type CheckRow, type JoinToken, openToken, sealToken } from '@causeway/mesh';
import {
  acceptReturn,
  atWork,
  giveToken,
  JoinClient,
  joinMesh,
  joinOneWay,
  leaveMesh,
  type RenewReport,
  readOwnSide,
  recoverJoins,
  renewPeer,
  returnToken,
  sweepPeers,
  viewPeer,
} from '@causeway/operator';
import { oneTimeCode } from '@causeway/pki';
import { CliError } from '../errors.ts';
import { printJson, printLine, printTable } from '../output/print.ts';
import type { Invocation } from '../program/invocation.ts';
import { readText } from './mesh-expose.ts';
import { acceptOption, type OwnStore, openOwnStore, textOption, urlsOption } from './mesh-store.ts';

const MAX_MINUTES = 7 * 24 * 60;

const now = (): Date => new Date();
const uid = (): string => randomUUID();

export async function meshToken(invocation: Invocation): Promise<void> {
  const peer = textOption(invocation, 'for') ?? '';
  const minutes = Number(textOption(invocation, 'minutes'));
  if (!Number.isInteger(minutes) || minutes < 1 || minutes > MAX_MINUTES) {
    throw new CliError('bad-usage', `a token is good for 1 to ${MAX_MINUTES} minutes`, {
      field: '--minutes',
      value: textOption(invocation, 'minutes'),
    });
  }
  const accept = acceptOption(invocation);
  await using own = openOwnStore(invocation);
  const { kv, store, auth, directory } = own;
  const renew = invocation.options.renew === true;
  const { facts, known } = await readOwnSide(kv, store, directory.cluster);
  const joined = known.some(({ name }) => name === peer);
  if (joined !== renew) {
    throw new CliError(
      joined ? 'already-exists' : 'not-found',
      joined ? `${peer} is a peer already` : `${peer} is no peer yet`,
      {
        field: '--for',
        value: peer,
        hint: joined ? 'give it --renew for new certificates' : 'invite it without --renew',
      },
    );
  }
  const way = ownWay(invocation, own);
  await sweepPeers({ kv, auth, directory, now });
  // What an operator takes back of an earlier invitation is not to be of this one.
  await using _mine = await atWork(kv, peer);
  // An earlier invitation is void from now on: what came with it would else be good until its certificate ends.
  if (!joined) await directory.revokeClients(peer, now());
  await admitPeer(auth, directory.cluster, peer);
  const { certificate, key } = await directory.issuePeer(peer, now());
  const token = await giveToken(kv, {
    type: renew ? 'renew' : 'invite',
    peer,
    from: facts,
    offer: { ...way.offer, ca: directory.trust, certificate, key },
    join: way.join,
    minutes,
    accept,
    now: now(),
  });
  printToken(invocation, token);
}

/** The token is one line that can be posted; the code goes another way. */
function printToken(invocation: Invocation, token: JoinToken): void {
  const file = textOption(invocation, 'passphraseFile');
  const code = file === undefined ? oneTimeCode() : readText('--passphrase-file', file);
  const text = sealToken(token, code);
  const { expiresAt } = token;
  if (invocation.json) {
    printJson({ token: text, ...(file === undefined ? { code } : {}), for: token.for, expiresAt });
    return;
  }
  printLine(text);
  if (file === undefined) printLine(`code: ${code}`);
  printLine(`for ${token.for}, once, until ${expiresAt}; send the code another way than the token`);
}

export async function meshJoin(invocation: Invocation, args: readonly string[]): Promise<void> {
  const accept = acceptOption(invocation);
  await using own = openOwnStore(invocation);
  const { kv, store, auth, directory } = own;
  const way = ownWay(invocation, own);
  const client = (options: ConstructorParameters<typeof JoinClient>[0]) => new JoinClient(options);
  const recovered = await recoverJoins({ kv, auth, directory, now, client, join: way.join });
  if (!invocation.json)
    for (const { peer, what, why } of recovered)
      printLine(
        `the interrupted join with ${peer} ${what === 'waits' ? 'waits' : `is ${what}`}: ${why}`,
      );
  if (invocation.options.resume === true) {
    if (invocation.json) printJson(recovered);
    else if (recovered.length === 0) printLine('no join was interrupted');
    return;
  }
  const token = readToken(invocation, args[0]);
  // Else what is about to be given would go with what the peer left behind.
  await sweepPeers({ kv, auth, directory, now });
  const { cluster } = directory;
  const byHand = { kv, store, cluster, now, uid, view: viewPeer, client };
  if (token.type === 'return') return show(invocation, cluster, await acceptReturn(token, byHand));
  if (token.type === 'renew') return show(invocation, cluster, await renewPeer(token, byHand));
  const joining = {
    ...byHand,
    auth,
    directory,
    accept,
    own: { ...way.offer, join: way.join },
  };
  if (invocation.options.oneWay !== true)
    return show(invocation, cluster, await joinMesh(token, joining));
  const half = await joinOneWay(token, joining);
  if (half.offer === undefined) return show(invocation, cluster, half);
  const back = returnToken(token, half.side, half.offer, way.join, now());
  if (!invocation.json) {
    show(invocation, cluster, half);
    printLine(`\n${half.peer} reads nothing of us until "causeway mesh join" there takes this:`);
  }
  printToken(invocation, back);
}

export async function meshLeave(invocation: Invocation, args: readonly string[]): Promise<void> {
  await using own = openOwnStore(invocation);
  const { kv, auth, directory } = own;
  const report = await leaveMesh(args[0] ?? '', {
    kv,
    cluster: directory.cluster,
    auth,
    directory,
    now,
    client: (options) => new JoinClient(options),
  });
  if (invocation.json) {
    printJson(report);
    return;
  }
  printLine(`${report.peer} is no peer of ${directory.cluster} any more`);
  printLine(
    report.told.type === 'told'
      ? `${report.peer} knows, and has forgotten us too`
      : `${report.peer} was not told (${report.told.why}): run "causeway mesh leave ${directory.cluster}" there`,
  );
  printLine(
    'watches of its nodes that run go on until they break; end its proxy, which must start anew if it joins again',
  );
}

/** How others reach us: what was said now, else what expose was told. */
function ownWay(invocation: Invocation, { directory }: OwnStore) {
  const { exposure } = directory;
  const endpoints = urlsOption(invocation, 'endpoints', '--endpoints') ?? exposure?.endpoints ?? [];
  const serverName = textOption(invocation, 'serverName');
  const join = urlsOption(invocation, 'join', '--join') ?? exposure?.join ?? [];
  const offer = { endpoints: [...endpoints], ...(serverName === undefined ? {} : { serverName }) };
  return { offer, join };
}

function readToken(invocation: Invocation, argument: string | undefined): JoinToken {
  const file = textOption(invocation, 'tokenFile');
  const text = argument ?? (file === undefined ? undefined : readText('--token-file', file));
  if (text === undefined)
    throw new CliError('bad-usage', 'which token?', { field: 'token', hint: 'or --token-file' });
  const passphrase = textOption(invocation, 'passphraseFile');
  const code =
    textOption(invocation, 'code') ??
    (passphrase === undefined ? undefined : readText('--passphrase-file', passphrase));
  if (code === undefined)
    throw new CliError('bad-usage', 'which code opens the token?', { field: '--code' });
  // Mail and printers add whole texts around it: the token is the line that begins as one.
  const line = /causeway\d+\.[-\w\s]*/.exec(text)?.[0] ?? text;
  return openToken(argument === undefined ? (line.split('\n')[0] ?? '') : line, code);
}

function show(invocation: Invocation, own: string, report: RenewReport): void {
  const { type, peer, mine, theirs, told } = report;
  if (invocation.json)
    printJson({
      type,
      peer,
      mine,
      theirs: theirs ?? null,
      ...(told === undefined ? {} : { told }),
    });
  else {
    printLine(`${peer} as ${own} sees it:`);
    printRows(mine);
    if (theirs !== undefined) {
      printLine(`\n${own} as ${peer} sees it:`);
      printRows(theirs);
    }
  }
  if (type === 'joined') {
    if (invocation.json) return;
    printLine(`\n${own} and ${peer} are joined`);
    if (told?.type === 'told') printLine(`${peer} takes the former certificates back`);
    if (told?.type === 'not-told')
      printLine(
        `${peer} was not told (${told.why}): "causeway mesh revoke ${own}" there takes the former certificates back`,
      );
    return;
  }
  const wrong = [...mine, ...(theirs ?? [])].filter(({ state }) => state === 'failed');
  throw new CliError(
    'join-refused',
    `nothing was written: ${wrong.map(({ check }) => check).join(', ')} ${wrong.length === 1 ? 'is' : 'are'} wrong`,
    { value: peer },
  );
}

function printRows(rows: readonly CheckRow[]): void {
  printTable(
    rows,
    (['check', 'state', 'mine', 'theirs', 'reason'] as const).map((field) => ({
      heading: field === 'mine' ? 'HERE' : field === 'theirs' ? 'THERE' : field.toUpperCase(),
      cell: (row: CheckRow) => row[field],
    })),
    'nothing was checked',
  );
}
