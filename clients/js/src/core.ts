import { Backoff } from "./backoff.js";
import { Bookmark } from "./bookmark.js";
import { Dialogue, RENEW_AGAIN } from "./dialogue.js";
import { Outbox, type Effect, type Input, type State } from "./effects.js";
import { GatewayError } from "./errors.js";
import { Link } from "./link.js";
import type { Identity, Timing } from "./options.js";
import { Subscriptions } from "./subscriptions.js";
import { NORMAL, OURS, verdict } from "./verdict.js";

/** Fresh tokens refused in a row after which no other one will do. */
const MAX_REFUSALS = 3;

/** Milliseconds that a server may make a client wait. */
const LONGEST_ADVICE = 3_600_000;

/**
 * What a client does, without doing it: what happened goes in, what to do about it comes out. No
 * sockets, no timers, no clock and no randomness of its own. `GatewayClient` is the shell around
 * it, and the Python SDK has the same core.
 */
export class Core {
  readonly #identity: Identity;
  readonly #timing: Timing;
  readonly #random: () => number;
  readonly #outbox = new Outbox();
  readonly #bookmark: Bookmark;
  readonly #subscriptions: Subscriptions;
  readonly #dialogue: Dialogue;
  readonly #backoff: Backoff;
  #link: Link | undefined;
  #attempts = 0;
  #kept: string | undefined;
  #then: number | undefined;
  #now = 0;
  // Between attempts: the next one, what a server said it must not be before, and when being
  // offline is no longer believed.
  #until = 0;
  #notBefore = 0;
  #disbelief = 0;
  #online = true;
  // The token function, which is asked once at a time.
  #asking = false;
  #spare: string | undefined;
  #refused: string | undefined;
  #refusals = 0;

  constructor(
    identity: Identity,
    guilds: Iterable<string>,
    timing: Timing,
    random: () => number,
    lastEventId: string | undefined,
  ) {
    const { minDelay, maxDelay } = timing;
    this.#identity = identity;
    this.#timing = timing;
    this.#random = random;
    this.#bookmark = new Bookmark(lastEventId);
    this.#kept = lastEventId;
    this.#backoff = new Backoff(minDelay, maxDelay, random);
    this.#subscriptions = new Subscriptions(
      guilds,
      new Backoff(minDelay, maxDelay, random),
      (ref, error) => this.#outbox.put({ do: "settle", ref, error }),
    );
    this.#dialogue = new Dialogue(
      identity,
      timing,
      this.#subscriptions,
      this.#bookmark,
      this.#outbox,
    );
  }

  /** Where the client is. */
  get state(): State {
    return this.#outbox.state;
  }

  /** From where the next session would resume. */
  get lastEventId(): string | undefined {
    return this.#bookmark.last;
  }

  /** The guilds that the session hears. */
  get guildIds(): string[] {
    const { wanted, held } = this.#subscriptions;
    return [...wanted].filter((guild) => held.has(guild));
  }

  /** Milliseconds from the last input until `tick` is worth telling; `Infinity` for never. */
  get wait(): number {
    let due = Infinity;
    if (this.state === "waiting") {
      due = this.#online ? this.#until : Math.max(this.#until, this.#disbelief);
    } else if (this.#link) {
      due = Math.min(this.#link.due, this.#subscriptions.due);
    }
    return Math.max(0, due - this.#now);
  }

  /**
   * Something happened, at `now` milliseconds of a clock that had better be steady. One that is
   * set back stands still for us; one that leaps ahead ends waits and asks questions, and no more
   * than that. Answers with what to do, in this order.
   */
  receive(input: Input, now: number): Effect[] {
    this.#now += Math.max(0, now - (this.#then ?? now));
    this.#then = now;
    this.#take(input);
    this.#followUp();
    return this.#outbox.take();
  }

  #take(input: Input): void {
    // Whatever an old socket still has to say.
    if ("attempt" in input && input.attempt !== this.#link?.attempt) return;
    const link = this.#link;
    switch (input.is) {
      case "text":
        if (link) this.#dialogue.hear(link, input.text, this.#now);
        break;
      case "tick":
        this.#tick();
        break;
      case "connect":
        this.#connect();
        break;
      case "close":
        this.#end();
        break;
      case "opened":
        link?.expect("ready", this.#now + this.#timing.readyTimeout);
        break;
      case "lost":
        if (link) this.#lost(link, input.code, input.reason, input.error);
        break;
      case "token":
        this.#token(input.value);
        break;
      case "noToken":
        this.#noToken(input.error, input.final);
        break;
      case "network":
        this.#online = input.online;
        if (input.online) this.#hurry();
        break;
      case "awake":
        this.#hurry();
        break;
      case "want":
        if (this.state === "closed") {
          this.#outbox.put({ do: "settle", ref: input.ref, error: closed() });
        } else {
          this.#subscriptions.want(input.guildId, input.ref);
        }
        break;
      case "leave":
        this.#subscriptions.leave(input.guildId, input.ref);
        break;
    }
  }

  #followUp(): void {
    const [link, now] = [this.#link, this.#now];
    if (link && !link.step) {
      if (now >= link.leaveAt) {
        this.#outbox.put({ do: "drop", code: NORMAL, reason: "as asked" });
        this.#retry(link);
      } else {
        if (now >= link.renewAt) this.#renew(link);
        for (const [name, guildId] of this.#subscriptions.commands(now)) {
          this.#dialogue.say(name, { guildId });
        }
      }
    }
    const last = this.#bookmark.last;
    if (last !== undefined && last !== this.#kept) {
      this.#kept = last;
      this.#outbox.put({ do: "keep", lastEventId: last });
    }
  }

  // --------------------------------------------------------------- attempts

  #connect(): void {
    if (this.state === "waiting") this.#hurry();
    else if (!this.#link) {
      this.#refused = undefined;
      this.#refusals = 0;
      this.#backoff.reset();
      this.#attempt();
    }
  }

  #attempt(): void {
    this.#attempts += 1;
    const link = new Link(this.#attempts, this.#now + this.#timing.tokenTimeout);
    this.#link = link;
    this.#outbox.become("connecting");
    const token = this.#identity.token ?? this.#spare;
    this.#spare = undefined;
    if (token !== undefined) this.#open(link, token);
    else this.#ask();
  }

  #open(link: Link, token: string): void {
    if (token === this.#refused) {
      const why = "the token function gave the very token that the gateway refused";
      this.#end(new GatewayError("token_refused", why));
      return;
    }
    link.token = token;
    link.expect("socket", this.#now + this.#timing.connectTimeout);
    this.#outbox.put({ do: "open", attempt: link.attempt });
  }

  #tick(): void {
    const [link, now] = [this.#link, this.#now];
    if (!link) {
      if (this.state === "waiting" && !this.wait) this.#attempt();
    } else if (link.step) {
      if (now >= link.deadline) this.#fail(link, link.late(link.step));
    } else {
      const finding = link.liveness?.check(now);
      if (finding === "ask") this.#dialogue.say("heartbeat", {});
      else if (finding) this.#fail(link, new GatewayError("silent", "the gateway has fallen silent"));
    }
  }

  /** There is reason to believe that things have changed: try now, or ask. */
  #hurry(): void {
    if (this.state === "waiting") {
      this.#until = Math.min(this.#until, Math.max(this.#now, this.#notBefore));
      this.#tick();
    } else if (this.#link?.liveness?.doubt(this.#now)) {
      this.#dialogue.say("heartbeat", {});
    }
  }

  // ------------------------------------------------------------ their ends

  #fail(link: Link, error: GatewayError): void {
    if (link.step !== "token") {
      this.#outbox.put({ do: "drop", code: OURS, reason: error.message });
    }
    this.#retry(link, error);
  }

  #lost(link: Link, closeCode: number, reason: string, error?: GatewayError): void {
    const why = `${closeCode} ${reason}`.trim();
    const word = link.step === "socket" ? "unreachable" : "connection_lost";
    error ??= new GatewayError(word, why, { closeCode });
    if (link.since !== undefined) {
      // Its token was good once.
      this.#refused = undefined;
      this.#refusals = 0;
    }
    const comeBack = verdict(closeCode);
    if (comeBack === "new token" || comeBack === "new token, resume") {
      this.#refused = link.token;
      if (comeBack === "new token") this.#refusals += 1;
    }
    const refused = this.#refused !== undefined && this.#refused === this.#identity.token;
    if (comeBack === "no" || refused || this.#refusals >= MAX_REFUSALS) {
      this.#link = undefined;
      this.#end(new GatewayError("closed", why, { closeCode }));
      return;
    }
    let floor = 0;
    if (comeBack === "later") floor = this.#timing.laterDelay * (1 + this.#random());
    if (error.retryAfter !== undefined) {
      // The same for everybody who is turned away, so it says where to begin to spread.
      floor = Math.min(error.retryAfter, LONGEST_ADVICE) + this.#backoff.next();
    }
    this.#retry(link, error, floor);
  }

  #retry(link: Link, error?: GatewayError, floor = 0): void {
    const now = this.#now;
    const lasted = link.since !== undefined && now - link.since >= this.#timing.stable;
    if (lasted) this.#backoff.reset();
    this.#link = undefined;
    this.#subscriptions.lost();
    const advised = link.comeBackAt !== undefined;
    let wait = Math.max(floor, Math.min((link.comeBackAt ?? 0) - now, LONGEST_ADVICE));
    this.#notBefore = now + wait;
    // A gateway that is drained over and over is still no reason to rush.
    if (!advised || !lasted) wait = Math.max(wait, this.#backoff.next());
    this.#until = now + wait;
    this.#disbelief = now + this.#timing.maxDelay;
    if (error) this.#outbox.tell("error", error);
    this.#outbox.become("waiting", wait, error);
  }

  #end(error?: GatewayError): void {
    if (this.state === "closed") return;
    if (this.#link && this.#link.step !== "token") {
      this.#outbox.put({ do: "drop", code: NORMAL, reason: "" });
    }
    this.#link = undefined;
    this.#subscriptions.closed(error ?? closed());
    if (error) this.#outbox.tell("error", error);
    this.#outbox.become("closed", undefined, error);
  }

  // ---------------------------------------------------------------- tokens

  #ask(): void {
    if (this.#asking) return;
    this.#asking = true;
    this.#outbox.put({ do: "ask" });
  }

  #renew(link: Link): void {
    link.renewAt = Infinity;
    link.renewing = true;
    this.#ask();
  }

  #token(value: string): void {
    this.#asking = false;
    const link = this.#link;
    if (link?.step === "token") {
      this.#open(link, value);
    } else if (link?.renewing) {
      link.renewing = false;
      if (value === link.token) {
        this.#notRenewed(link, new GatewayError("token_failed", "it is the same token"));
      } else {
        link.token = value;
        this.#dialogue.say("authenticate", { token: value });
      }
    } else if (this.state === "waiting") {
      // It came too late for its attempt, and in time for the next.
      this.#spare = value;
    }
  }

  #noToken(error: GatewayError, final: boolean): void {
    this.#asking = false;
    const link = this.#link;
    if (final) {
      this.#end(error);
    } else if (link?.step === "token") {
      this.#retry(link, error);
    } else if (link?.renewing) {
      link.renewing = false;
      this.#notRenewed(link, error);
    }
  }

  #notRenewed(link: Link, error: GatewayError): void {
    link.renewAt = this.#now + RENEW_AGAIN;
    this.#outbox.tell("error", error);
  }
}

function closed(): GatewayError {
  return new GatewayError("closed", "the client is closed");
}
