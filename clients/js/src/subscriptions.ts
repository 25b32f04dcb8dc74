import { Allowance, type Backoff } from "./backoff.js";
import { GatewayError } from "./errors.js";

type Settle = (ref: number, error?: GatewayError) => void;
type Command = "guild_subscribe" | "guild_unsubscribe";

/**
 * Commands at once, and a second: together under 100 of the 120 messages that the gateway takes in
 * a minute. The rest is for heartbeats.
 */
const [BURST, RATE] = [40, 1];

/** The denial that says nothing about the user: the authority could not be asked. */
export const UNAVAILABLE = "unavailable";

/**
 * The guilds that an application wants to hear, and those that the session does. What is wanted
 * outlives every connection; what is held does not. `commands` says what to send so that the
 * second becomes the first.
 */
export class Subscriptions {
  /** In the order in which they were asked for. */
  readonly wanted: Set<string>;
  /** By the session there is. */
  readonly held = new Set<string>();
  readonly #retry: Backoff;
  readonly #settle: Settle;
  readonly #allowance = new Allowance(BURST, RATE);
  readonly #waitingIn = new Map<string, number[]>();
  readonly #waitingOut = new Map<string, number[]>();
  readonly #asked = new Map<string, Command>();
  readonly #denied = new Set<string>();
  readonly #again = new Map<string, number>();
  #missed = new Set<string>();
  #live = false;
  #blocked = Infinity;

  constructor(guilds: Iterable<string>, retry: Backoff, settle: Settle) {
    this.wanted = new Set(guilds);
    this.#retry = retry;
    this.#settle = settle;
  }

  // ------------------------------------------------------- the application

  /** Hear a guild from now on; `ref` is settled when it is heard. */
  want(guild: string, ref: number): void {
    this.wanted.add(guild);
    this.#denied.delete(guild);
    if (this.#asked.get(guild) !== "guild_unsubscribe") {
      // It was to be left, and the gateway has not been told.
      const why = "subscribed again before it was left";
      this.#done(this.#waitingOut, guild, new GatewayError("subscribed", why, { guildId: guild }));
    }
    if (this.held.has(guild) && !this.#asked.has(guild)) this.#settle(ref);
    else push(this.#waitingIn, guild, ref);
  }

  /** Hear a guild no more; `ref` is settled when it is not. */
  leave(guild: string, ref: number): void {
    this.wanted.delete(guild);
    this.#again.delete(guild);
    this.#missed.delete(guild);
    const gone = new GatewayError("unsubscribed", "unsubscribed before it was heard", {
      guildId: guild,
    });
    this.#done(this.#waitingIn, guild, gone);
    if (this.#live && (this.held.has(guild) || this.#asked.has(guild))) {
      push(this.#waitingOut, guild, ref);
    } else {
      this.#settle(ref);
    }
  }

  // ----------------------------------------------------------- the session

  /**
   * A session begins. Answers with the guilds that are heard again after a session that did not
   * hear them.
   */
  identified(
    granted: readonly string[],
    denied: readonly (readonly [guild: string, reason: string])[],
    now: number,
  ): string[] {
    this.#live = true;
    this.held.clear();
    for (const guild of granted) this.held.add(guild);
    for (const [guild, reason] of denied) {
      if (reason === UNAVAILABLE) this.postpone(guild, now);
      else {
        const why = "the guild is denied to this session";
        this.#deny(guild, new GatewayError(reason, why, { guildId: guild }));
      }
    }
    const regained = granted.filter((guild) => this.#missed.has(guild));
    // Whoever waits for a guild looks at it when told; all others believe they hear it.
    this.#missed = new Set(
      [...this.wanted].filter((guild) => !this.held.has(guild) && !this.#waitingIn.has(guild)),
    );
    for (const guild of granted) this.#done(this.#waitingIn, guild);
    return regained;
  }

  /** A guild was denied for now: it is asked for again later. */
  postpone(guild: string, now: number, wait?: number): void {
    this.#asked.delete(guild);
    this.#again.set(guild, now + (wait ?? Math.max(1000, this.#retry.next())));
    this.#done(this.#waitingOut, guild);
    // It was to be left, is not, and has been wanted again since.
    if (this.held.has(guild) && this.wanted.has(guild)) this.#done(this.#waitingIn, guild);
  }

  /**
   * The session hears a guild: it asked, or the user became a member. Answers whether events in it
   * may have been missed, without anybody waiting for it.
   */
  subscribed(guild: string): boolean {
    this.held.add(guild);
    const asked = this.#asked.get(guild);
    // What the gateway said before it heard that.
    if (asked === "guild_unsubscribe") return false;
    if (!asked) this.wanted.add(guild);
    this.#asked.delete(guild);
    this.#again.delete(guild);
    if (!this.#again.size) this.#retry.reset();
    const regained = this.#missed.delete(guild);
    return !this.#done(this.#waitingIn, guild) && regained;
  }

  /** The session does not hear a guild any more. With a `reason` that was taken from it. */
  unsubscribed(guild: string, reason: string | undefined): void {
    this.held.delete(guild);
    if (reason) {
      this.wanted.delete(guild);
      const gone = new GatewayError(reason, "the guild was taken away", { guildId: guild });
      this.#done(this.#waitingIn, guild, gone);
    } else if (this.#asked.get(guild) === "guild_unsubscribe") {
      this.#asked.delete(guild);
    }
    this.#done(this.#waitingOut, guild);
  }

  /** The gateway will not let the session hear a guild. */
  denied(guild: string, error: GatewayError): void {
    this.#asked.delete(guild);
    this.#deny(guild, error);
    this.#done(this.#waitingOut, guild);
  }

  #deny(guild: string, error: GatewayError): void {
    if (this.#done(this.#waitingIn, guild, error)) this.wanted.delete(guild);
    // Nobody was told, so it stays wanted: the next session asks again.
    else this.#denied.add(guild);
  }

  /** There is no session any more. */
  lost(): void {
    this.#live = false;
    this.held.clear();
    this.#asked.clear();
    this.#denied.clear();
    this.#again.clear();
    for (const guild of [...this.#waitingOut.keys()]) this.#done(this.#waitingOut, guild);
  }

  /** There will be none. */
  closed(error: GatewayError): void {
    this.lost();
    for (const guild of [...this.#waitingIn.keys()]) this.#done(this.#waitingIn, guild, error);
  }

  #done(waiting: Map<string, number[]>, guild: string, error?: GatewayError): boolean {
    const refs = waiting.get(guild) ?? [];
    waiting.delete(guild);
    for (const ref of refs) this.#settle(ref, error);
    return refs.length > 0;
  }

  // ------------------------------------------- becoming what is wanted

  /** What to send now. */
  *commands(now: number): Generator<readonly [name: Command, guild: string]> {
    this.#blocked = Infinity;
    if (!this.#live) return;
    for (const [name, guild] of this.#differences(now)) {
      if (!this.#allowance.take(now)) {
        this.#blocked = this.#allowance.next();
        return;
      }
      this.#asked.set(guild, name);
      yield [name, guild];
    }
  }

  #differences(now: number): (readonly [Command, string])[] {
    const leave = [...this.held].filter((guild) => !this.wanted.has(guild));
    const enter = [...this.wanted].filter(
      (guild) =>
        !this.held.has(guild) &&
        !this.#denied.has(guild) &&
        (this.#again.get(guild) ?? now) <= now,
    );
    return [
      ...leave.map((guild) => ["guild_unsubscribe", guild] as const),
      ...enter.map((guild) => ["guild_subscribe", guild] as const),
    ].filter(([, guild]) => !this.#asked.has(guild));
  }

  /** When `commands` will have more; `Infinity` if that is not a matter of time. */
  get due(): number {
    if (!this.#live) return Infinity;
    const times = [...this.#again].filter(([guild]) => this.wanted.has(guild));
    return Math.min(this.#blocked, ...times.map(([, when]) => when));
  }
}

function push(waiting: Map<string, number[]>, guild: string, ref: number): void {
  waiting.set(guild, [...(waiting.get(guild) ?? []), ref]);
}
