import { messageWithCauses } from '@causeway/daemon';

/** Whether the other side knows; why not. */
export type Told = { readonly type: 'told' } | { readonly type: 'not-told'; readonly why: string };

export const NOWHERE_TO_TELL: Told = {
  type: 'not-told',
  why: 'no address of its operators is known',
};

/** Tells a peer what it may hear later too. */
export async function tellPeer(tell: () => Promise<unknown>): Promise<Told> {
  try {
    await tell();
    return { type: 'told' };
  } catch (error) {
    return { type: 'not-told', why: messageWithCauses(error) };
  }
}
