import { CLOSINGS, type ComeBack } from "./generated/closing.js";

/** The application closes, or the gateway asked us to leave. */
export const NORMAL = 1000;

/**
 * With this a client leaves a connection that it does not trust any more. Not 1000 or 1001, which
 * say that all is well; and the gateway's codes are the gateway's.
 */
export const OURS = 4900;

/**
 * Whether to come back after a close, and how. A code that is not in the table is a network's, a
 * proxy's or a newer gateway's: coming back, with waits that grow, is right for all of them.
 */
export function verdict(code: number): ComeBack {
  return CLOSINGS.get(code) ?? "yes";
}
