import { addAddress, deleteAddress } from './address.ts';
import {
  createBridge,
  createVeth,
  createVxlan,
  deleteLink,
  deleteLinkGroup,
  setLink,
} from './link-requests.ts';
import { deleteNeighbour, setNeighbour } from './neighbour.ts';
import { addRoute, deleteRoute, replaceRoute } from './route-requests.ts';
import { addRule, deleteRule } from './rule.ts';

/**
 * Builders of requests for RtSocket.apply. Pure: they check what they are given (invalid-argument
 * names the field) and encode it.
 */
export const request = Object.freeze({
  createVeth,
  createVxlan,
  createBridge,
  setLink,
  deleteLink,
  deleteLinkGroup,
  addAddress,
  deleteAddress,
  addRoute,
  replaceRoute,
  deleteRoute,
  setNeighbour,
  deleteNeighbour,
  addRule,
  deleteRule,
});
