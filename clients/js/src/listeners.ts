import type { Meta, Resync, StateChange } from "./effects.js";
import type { GatewayError } from "./errors.js";
import type {
  Events,
  GuildSubscribed,
  GuildUnsubscribed,
  TokenExpiring,
} from "./generated/events.js";

/** All that `on` knows by name, and the data that comes with it. */
export interface Heard extends Events {
  /** Every event of the platform; `meta.name` says which. */
  "*": unknown;
  /** The client is somewhere else. */
  state: StateChange;
  /** Something may have been missed in these guilds: fetch them. */
  resync: Resync;
  /** Something went wrong; the client goes on by itself unless it is closed. */
  error: GatewayError;
  /** A guild is heard: the application asked, or the user became a member. */
  guild_subscribed: GuildSubscribed;
  /** A guild is not heard any more; with a reason it was taken away. */
  guild_unsubscribed: GuildUnsubscribed;
  /** The token, given by value, will expire. */
  token_expiring: TokenExpiring;
}

export type Listener<Data> = (data: Data, meta: Meta) => unknown;

/** The application's callbacks, by the name of what they are for. */
export class Listeners {
  readonly #byName = new Map<string, Listener<never>[]>();
  readonly #failed: (name: string, error: unknown) => void;

  /** `failed` is called with what a listener threw, which never keeps another from hearing. */
  constructor(failed: (name: string, error: unknown) => void) {
    this.#failed = failed;
  }

  /** Answers with a function that ends it. */
  add(name: string, listener: Listener<never>): () => void {
    const listeners = this.#byName.get(name) ?? [];
    this.#byName.set(name, [...listeners, listener]);
    return () => {
      const left = [...(this.#byName.get(name) ?? [])];
      const index = left.indexOf(listener);
      if (index >= 0) left.splice(index, 1);
      this.#byName.set(name, left);
    };
  }

  any(name: string): boolean {
    return !!this.#byName.get(name)?.length;
  }

  /** Call those whom it concerns, in the order in which they were added. */
  tell(data: unknown, meta: Meta, local: boolean): void {
    const named = this.#byName.get(meta.name) ?? [];
    // An event whose name is a word of ours is none of that word's.
    const ours = local || !["*", "state", "resync"].includes(meta.name);
    const all = local ? [] : (this.#byName.get("*") ?? []);
    for (const listener of [...(ours ? named : []), ...all]) {
      const failed = (error: unknown): void => this.#failed(meta.name, error);
      try {
        const result = listener(data as never, meta);
        if (result instanceof Promise) result.catch(failed);
      } catch (error) {
        failed(error);
      }
    }
  }
}
