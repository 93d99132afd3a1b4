import { KvError } from './errors.ts';
import type { Header, RangeRequest, RangeResponse } from './transport.ts';

export interface PagedRequest {
  readonly prefix: string;
  /** Entries per page; fewer where entries are so large that a page does not fit a message. */
  readonly limit: number;
  readonly keysOnly: boolean;
}

/** A prefix page by page, all at the first page's revision, which is in every header given. */
export async function* pagesOf(
  range: (request: RangeRequest) => Promise<RangeResponse>,
  { prefix, limit, keysOnly }: PagedRequest,
): AsyncGenerator<RangeResponse, void, undefined> {
  let first: Header | undefined;
  let after: string | undefined;
  let size = limit;
  for (let more = true; more; ) {
    const request: RangeRequest = {
      prefix,
      limit: size,
      revision: first?.revision ?? 0,
      keysOnly,
      ...(after === undefined ? {} : { after }),
    };
    let page: RangeResponse;
    try {
      page = await range(request);
    } catch (error) {
      if (!(error instanceof KvError) || error.code !== 'too-large' || size === 1) throw error;
      size = Math.max(1, size >> 2);
      continue;
    }
    if (first && page.header.clusterId !== first.clusterId) {
      throw new KvError('unavailable', prefix, 'the store was replaced during the list');
    }
    first ??= page.header;
    yield { ...page, header: { ...page.header, revision: first.revision } };
    after = page.entries.at(-1)?.key;
    more = page.more && after !== undefined;
  }
}
