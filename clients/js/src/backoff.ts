/**
 * Exponential back-off with full jitter: each wait is anything from nothing to a bound, and the
 * bound doubles.
 *
 * A gateway that dies sends all its clients away in one moment, and only a wait drawn from the
 * whole of the interval spreads them evenly over it.
 */
export class Backoff {
  readonly #initial: number;
  readonly #maximum: number;
  readonly #random: () => number;
  #bound: number;

  constructor(initial: number, maximum: number, random: () => number) {
    this.#initial = this.#bound = initial;
    this.#maximum = maximum;
    this.#random = random;
  }

  /** Milliseconds to wait now. */
  next(): number {
    const bound = Math.min(this.#bound, this.#maximum);
    this.#bound = bound * 2;
    return bound * this.#random();
  }

  /** Begin again at the first bound. */
  reset(): void {
    this.#bound = this.#initial;
  }
}

/** So many at once, then so many a second: keeps a client below the gateway's rate limit. */
export class Allowance {
  readonly #burst: number;
  readonly #rate: number;
  #left: number;
  #then = -Infinity;

  constructor(burst: number, perSecond: number) {
    this.#burst = this.#left = burst;
    this.#rate = perSecond / 1000;
  }

  /** Use one, if there is one. */
  take(now: number): boolean {
    this.#left = Math.min(this.#burst, this.#left + (now - this.#then) * this.#rate);
    this.#then = now;
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }

  /** When there will be one, asked after `take` refused. */
  next(): number {
    // A little late rather than a little early: a sum of fractions may fall short of one.
    return this.#then + (1 - this.#left) / this.#rate + 1;
  }
}
