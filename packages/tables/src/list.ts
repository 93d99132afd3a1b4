/**
 * A table's rows in order of revision, as a ring of links. A change moves its entry to the end; a
 * tracker is a link of its own in the ring, so that what it has yet to see is what follows it.
 */

export class Link {
  prev: Link = this;
  next: Link = this;

  unlink(): void {
    this.prev.next = this.next;
    this.next.prev = this.prev;
    this.prev = this;
    this.next = this;
  }

  insertAfter(link: Link): void {
    this.prev = link;
    this.next = link.next;
    link.next.prev = this;
    link.next = this;
  }
}

export class Entry<Row, K> extends Link {
  readonly key: K;
  row: Row;
  revision: number;
  deleted = false;

  constructor(key: K, row: Row, revision: number) {
    super();
    this.key = key;
    this.row = row;
    this.revision = revision;
  }
}
