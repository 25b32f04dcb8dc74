import type { Bookmark } from "./bookmark.js";
import type { Outbox } from "./effects.js";
import { GatewayError } from "./errors.js";
import type { Commands, Resume, Told } from "./generated/events.js";
import type { Link } from "./link.js";
import { Liveness } from "./liveness.js";
import type { Identity, Timing } from "./options.js";
import { UNAVAILABLE, type Subscriptions } from "./subscriptions.js";
import { count, members, read, text, texts, write, type Members, type Message } from "./words.js";

/**
 * The gateway takes messages of 16 KiB. Guilds that do not fit into `identify` are subscribed to
 * one by one.
 */
const IDENTIFY_BYTES = 15_000;

/** Milliseconds between heartbeats: what is believed at the least, and what is assumed. */
const [SHORTEST, USUAL] = [50, 30_000];

/** Milliseconds after which a token that could not be renewed is tried again. */
export const RENEW_AGAIN = 5_000;

type Control = (link: Link, data: Members, now: number) => void;

/**
 * One side of the protocol. It speaks by way of the outbox, and leaves in the link what the core
 * has to see to.
 */
export class Dialogue {
  readonly #identity: Identity;
  readonly #timing: Timing;
  readonly #subscriptions: Subscriptions;
  readonly #bookmark: Bookmark;
  readonly #outbox: Outbox;
  readonly #controls: ReadonlyMap<string, Control>;
  #sessions = 0;

  constructor(
    identity: Identity,
    timing: Timing,
    subscriptions: Subscriptions,
    bookmark: Bookmark,
    outbox: Outbox,
  ) {
    this.#identity = identity;
    this.#timing = timing;
    this.#subscriptions = subscriptions;
    this.#bookmark = bookmark;
    this.#outbox = outbox;
    const nothing: Control = () => undefined;
    const controls: Record<keyof Told, Control> = {
      ready: this.#ready,
      identified: this.#identified,
      heartbeat: this.#heartbeat,
      heartbeat_ack: nothing,
      guild_subscribed: this.#guildSubscribed,
      guild_unsubscribed: this.#guildUnsubscribed,
      error: this.#error,
      token_expiring: this.#tokenExpiring,
      authenticated: nothing,
      reconnect: this.#reconnect,
    };
    this.#controls = new Map(Object.entries(controls));
  }

  /** Send one command. */
  say<Name extends keyof Commands>(event: Name, data: Commands[Name]): void {
    this.#outbox.put({ do: "send", text: write(event, data) });
  }

  /** A message came. */
  hear(link: Link, raw: unknown, now: number): void {
    const message = read(raw);
    if (!message) {
      const why = "the gateway sent what is no message";
      this.#outbox.tell("error", new GatewayError("bad_message", why));
      return;
    }
    link.liveness?.heard(now);
    const control = this.#controls.get(message.event);
    if (control) control(link, members(message.data), now);
    else if (!link.step) this.#event(message);
  }

  #event({ event: name, id, guildId, data }: Message): void {
    if (id === undefined || this.#bookmark.event(id)) {
      this.#outbox.put({ do: "emit", meta: { name, id, guildId }, data, local: false });
    }
  }

  // -------------------------------------------------------------- beginning

  #ready: Control = (link, data, now) => {
    if (link.step !== "ready") return;
    const interval = count(data["heartbeatInterval"]);
    link.interval = interval ? Math.max(SHORTEST, interval) : USUAL;
    link.expect("identified", now + this.#timing.identifyTimeout);
    this.#outbox.become("identifying");
    const { userId, events, client } = this.#identity;
    const token = link.token ?? "";
    this.say("identify", {
      userId,
      token,
      guildIds: this.#guildsThatFit(token),
      ...(this.#bookmark.last !== undefined && { lastEventId: this.#bookmark.last }),
      ...(events?.length && { events: [...events] }),
      ...(client !== undefined && { client }),
    });
  };

  #guildsThatFit(token: string): string[] {
    let room = IDENTIFY_BYTES - token.length;
    const fit: string[] = [];
    for (const guild of this.#subscriptions.wanted) {
      room -= new TextEncoder().encode(guild).length + 3;
      if (room < 0) break;
      fit.push(guild);
    }
    return fit;
  }

  #identified: Control = (link, data, now) => {
    if (link.step !== "identified") return;
    link.step = undefined;
    link.since = now;
    link.liveness = new Liveness(link.interval, this.#timing.probeTimeout, now);
    const granted = texts(data["guildIds"]);
    const denied = denials(data["denied"]);
    this.#outbox.become("ready");
    const regained = this.#subscriptions.identified(granted, denied, now);
    const resume: Partial<Resume> | undefined = data["resume"] ? members(data["resume"]) : undefined;
    this.#bookmark.identified(text(data["lastEventId"]), resume);
    // Without a resume the session began from the head of the log. Was there one before?
    const missed = resume ? texts(resume.resync) : this.#sessions ? granted : [];
    this.#sessions += 1;
    this.#resync([...missed, ...regained]);
    for (const [guildId, reason] of denied) {
      const why = "the guild is denied to this session";
      this.#outbox.tell("error", new GatewayError(reason, why, { event: "identify", guildId }));
    }
  };

  #resync(guilds: readonly string[]): void {
    if (guilds.length) this.#outbox.tell("resync", { guildIds: [...new Set(guilds)] });
  }

  // ------------------------------------------------------------------- live

  #heartbeat: Control = (link, data) => {
    // Before identify there is nothing one may say, this included.
    if (!link.step || link.step === "identified") this.say("heartbeat_ack", {});
    if (!link.step) this.#bookmark.heartbeat(text(data["lastEventId"]));
  };

  #guildSubscribed: Control = (link, data) => {
    const guild = text(data["guildId"]);
    if (link.step || !guild) return;
    const regained = this.#subscriptions.subscribed(guild);
    this.#outbox.tell("guild_subscribed", data);
    if (regained) this.#resync([guild]);
  };

  #guildUnsubscribed: Control = (link, data) => {
    const guild = text(data["guildId"]);
    if (link.step || !guild) return;
    this.#subscriptions.unsubscribed(guild, text(data["reason"]));
    this.#outbox.tell("guild_unsubscribed", data);
  };

  #error: Control = (link, data, now) => {
    const code = text(data["code"]) ?? "error";
    const why = text(data["message"]) ?? "the gateway did not say why";
    const event = text(data["event"]);
    const guildId = text(data["guildId"]);
    const retryAfter = count(data["retryAfter"]);
    const error = new GatewayError(code, why, { event, guildId, retryAfter });
    if (event === "guild_subscribe" && guildId) {
      if (code === UNAVAILABLE || retryAfter !== undefined) {
        this.#subscriptions.postpone(guildId, now, retryAfter);
      } else {
        this.#subscriptions.denied(guildId, error);
      }
    } else if (event === "authenticate") {
      link.renewAt = now + RENEW_AGAIN;
    }
    this.#outbox.tell("error", error);
  };

  #tokenExpiring: Control = (link, data, now) => {
    if (!link.step && this.#identity.token === undefined) link.renewAt = now;
    else this.#outbox.tell("token_expiring", data);
  };

  #reconnect: Control = (link, data, now) => {
    if (link.step) return;
    link.comeBackAt = now + (count(data["retryAfter"]) ?? 0);
    // A gateway that shuts down serves to the end, and has already spread out the times at which
    // its clients go. One that lost its upstream has nothing to stay for.
    link.leaveAt = data["reason"] === "upstream" ? now : link.comeBackAt;
  };
}

function denials(value: unknown): (readonly [guild: string, reason: string])[] {
  if (!Array.isArray(value)) return [];
  return value.map(members).flatMap(({ guildId, reason }) => {
    const guild = text(guildId);
    return guild ? [[guild, text(reason) ?? "forbidden"] as const] : [];
  });
}
