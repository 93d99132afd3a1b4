/** An endpoint whose time to live is over. */
export interface ExpiredItem {
  readonly source: string;
  readonly id: string;
  readonly version: string | undefined;
}
