import type { GatewayError } from "./errors.js";

/**
 * Where a client is.
 *
 * - `idle`: not told to connect yet
 * - `connecting`: getting a token, a socket, and the gateway's `ready`
 * - `identifying`: `identify` is sent
 * - `ready`: the session is live
 * - `waiting`: between two attempts
 * - `closed`: by the application, or by a gateway that said not to come back
 */
export type State = "idle" | "connecting" | "identifying" | "ready" | "waiting" | "closed";

/** What comes with an event beside its data. */
export interface Meta {
  /** Such as `message.create`. */
  readonly name: string;
  /** Its place in the log; `undefined` for what is never logged, such as `typing.start`. */
  readonly id: string | undefined;
  /** Where it is for one guild. */
  readonly guildId: string | undefined;
}

/** The data of `state`. */
export interface StateChange {
  readonly state: State;
  readonly previous: State;
  /** Milliseconds until the next attempt, in `waiting`. */
  readonly retryIn?: number | undefined;
  /** What ended the attempt or the session before. */
  readonly error?: GatewayError | undefined;
}

/** The data of `resync`: something may have been missed in these guilds, so fetch them. */
export interface Resync {
  readonly guildIds: readonly string[];
}

/** What the core has its shell do. */
export type Effect =
  /** Call the application's token function, and tell the core what comes of it. */
  | { readonly do: "ask" }
  /** Open a socket. All that is told of it carries the number of this attempt. */
  | { readonly do: "open"; readonly attempt: number }
  /** Send a text message on the socket there is. */
  | { readonly do: "send"; readonly text: string }
  /** Be done with the socket, whether it answers or not. Nothing more is told of it. */
  | { readonly do: "drop"; readonly code: number; readonly reason: string }
  /** Call listeners. `local`: for the client's own word, and no event of the platform. */
  | { readonly do: "emit"; readonly meta: Meta; readonly data: unknown; readonly local: boolean }
  /** A subscribe or unsubscribe is done, or failed. */
  | { readonly do: "settle"; readonly ref: number; readonly error: GatewayError | undefined }
  /** Put this into the application's store: resume from here. */
  | { readonly do: "keep"; readonly lastEventId: string };

/** What can happen to a client. What is told of a socket names the attempt it was opened for. */
export type Input =
  | { readonly is: "connect" | "close" | "awake" | "tick" }
  | { readonly is: "want" | "leave"; readonly guildId: string; readonly ref: number }
  | { readonly is: "token"; readonly value: string }
  /** `final`: there will never be one. */
  | { readonly is: "noToken"; readonly error: GatewayError; readonly final: boolean }
  | { readonly is: "opened"; readonly attempt: number }
  | { readonly is: "text"; readonly attempt: number; readonly text: unknown }
  /** `code`: of the close frame; 1006 where there was none. */
  | {
      readonly is: "lost";
      readonly attempt: number;
      readonly code: number;
      readonly reason: string;
      readonly error?: GatewayError | undefined;
    }
  | { readonly is: "network"; readonly online: boolean };

/** What a core has to say to its shell, in order. */
export class Outbox {
  state: State = "idle";
  #effects: Effect[] = [];

  put(effect: Effect): void {
    this.#effects.push(effect);
  }

  take(): Effect[] {
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  /** Have the application hear something that is no event of the platform. */
  tell(name: string, data: unknown): void {
    const meta = { name, id: undefined, guildId: undefined };
    this.put({ do: "emit", meta, data, local: true });
  }

  become(state: State, retryIn?: number, error?: GatewayError): void {
    const change: StateChange = { state, previous: this.state, retryIn, error };
    this.state = state;
    this.tell("state", change);
  }
}
