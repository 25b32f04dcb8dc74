// Made from docs/asyncapi.yaml by `python -m clients.generate`. Change that, not this.

/** What a client should do after a close. */
export type ComeBack = "later" | "new token" | "new token, resume" | "no" | "resume" | "yes";

/** By close code. */
export const CLOSINGS: ReadonlyMap<number, ComeBack> = new Map<number, ComeBack>([
  [1001, "resume"], // shutting down
  [1007, "no"], // not UTF-8
  [1009, "yes"], // message too big
  [4000, "resume"], // internal error
  [4001, "no"], // too many unknown events
  [4002, "no"], // not a JSON object
  [4003, "no"], // identify first
  [4004, "new token"], // token refused
  [4005, "yes"], // already identified
  [4006, "new token, resume"], // token expired
  [4008, "later"], // too many messages
  [4009, "resume"], // heartbeat not answered
  [4020, "resume"], // too slow: unsent data over the limit
  [4021, "yes"], // not identified in time
  [4022, "no"], // disconnected by an operator
  [4023, "later"], // too many connections
]);
