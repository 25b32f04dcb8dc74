/** How long a client waits for what. All in milliseconds. */
export interface Timing {
  /** For the socket and its upgrade: 10 s. */
  readonly connectTimeout: number;
  /** For the gateway's `ready` on an open socket: 10 s. */
  readonly readyTimeout: number;
  /** For the answer to `identify`: 15 s. */
  readonly identifyTimeout: number;
  /** For the application's token function: 10 s. */
  readonly tokenTimeout: number;
  /** For any word from a gateway that has fallen silent: 5 s. */
  readonly probeTimeout: number;
  /** The first bound of the wait between attempts: 1 s. */
  readonly minDelay: number;
  /** The bound that it never exceeds: 30 s. */
  readonly maxDelay: number;
  /** The least wait after a close that asks for one, 4008 and 4023: 5 s. */
  readonly laterDelay: number;
  /** How long a session must have lived for the next wait to be a first one: 10 s. */
  readonly stable: number;
}

export const TIMING: Timing = {
  connectTimeout: 10_000,
  readyTimeout: 10_000,
  identifyTimeout: 15_000,
  tokenTimeout: 10_000,
  probeTimeout: 5_000,
  minDelay: 1_000,
  maxDelay: 30_000,
  laterDelay: 5_000,
  stable: 10_000,
};

/** What the client says of itself in `identify`. */
export interface Identity {
  readonly userId: string;
  /** `undefined` where a function is asked for each attempt's. */
  readonly token: string | undefined;
  readonly events: readonly string[] | undefined;
  readonly client: string | undefined;
}

const MAX_ID = 64;

/** The value, if it can be an id. */
export function checkedId(value: unknown): string {
  // As the gateway counts: code points, not UTF-16 units.
  const length = typeof value === "string" ? [...value.slice(0, 2 * MAX_ID + 2)].length : 0;
  if (!length || length > MAX_ID) {
    throw new TypeError(`an id is a string of 1 to ${MAX_ID} characters`);
  }
  return value as string;
}
