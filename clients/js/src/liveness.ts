/** Heartbeat intervals without a word after which the gateway is asked. */
const PATIENCE = 1.25;

/**
 * Notices a connection that is open and leads nowhere. TCP may take a quarter of an hour for that,
 * and a browser shows its pages neither pings nor pongs; but a gateway has something to say every
 * heartbeat interval.
 *
 * Silence alone proves nothing: the machine may have slept, or the clock been set. So the gateway
 * is asked first, and only silence after a question is death.
 */
export class Liveness {
  readonly #quiet: number;
  readonly #patience: number;
  #asked = false;
  due: number;

  constructor(interval: number, patience: number, now: number) {
    this.#quiet = interval * PATIENCE;
    this.#patience = patience;
    this.due = now + this.#quiet;
  }

  /** Something came, whatever it is. */
  heard(now: number): void {
    this.#asked = false;
    this.due = now + this.#quiet;
  }

  /** There is reason to ask right now. Answers whether to; not if an answer is awaited already. */
  doubt(now: number): boolean {
    if (this.#asked) return false;
    this.#asked = true;
    this.due = now + this.#patience;
    return true;
  }

  /** Look at the clock. */
  check(now: number): "ask" | "dead" | undefined {
    if (now < this.due) return undefined;
    return this.doubt(now) ? "ask" : "dead";
  }
}
