import { GatewayError } from "./errors.js";
import type { Liveness } from "./liveness.js";

/** What an attempt waits for: the word for when it takes too long, and a sentence. */
export const STEPS = {
  token: ["token_timeout", "the token function has not answered in time"],
  socket: ["connect_timeout", "no connection in time"],
  ready: ["ready_timeout", "the gateway did not say ready in time"],
  identified: ["identify_timeout", "the gateway did not answer identify in time"],
} as const;

export type Step = keyof typeof STEPS;

/**
 * One attempt at a connection. Nothing outlives it: the next attempt begins with a new one, in
 * which no question is open, no answer outstanding and no advice given.
 */
export class Link {
  /** What it waits for; `undefined` once the session is live. */
  step: Step | undefined = "token";
  /** The token to identify with. */
  token: string | undefined;
  /** Between the gateway's heartbeats. */
  interval = 30_000;
  /** Watches the live session. */
  liveness: Liveness | undefined;
  /** When that began. */
  since: number | undefined;
  /** When to go, where the gateway asked for it. */
  leaveAt = Infinity;
  /** And when to come back. */
  comeBackAt: number | undefined;
  /** When to ask for a fresh token. */
  renewAt = Infinity;
  /** Whether the token function is being asked for one. */
  renewing = false;

  constructor(
    readonly attempt: number,
    /** When what it waits for must have come. */
    public deadline: number,
  ) {}

  /** Wait for the next thing. */
  expect(step: Step, deadline: number): void {
    this.step = step;
    this.deadline = deadline;
  }

  /** It took too long. */
  late(step: Step): GatewayError {
    const [code, message] = STEPS[step];
    return new GatewayError(code, message);
  }

  /** When to look at it again. */
  get due(): number {
    return Math.min(
      this.leaveAt,
      this.renewAt,
      this.step ? this.deadline : Infinity,
      this.liveness?.due ?? Infinity,
    );
  }
}
