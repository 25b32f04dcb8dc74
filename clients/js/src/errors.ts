/** What may be known of an error beside its code and message. */
export interface ErrorDetails {
  /** The command that it answers. */
  event?: string | undefined;
  /** The guild that it is about. */
  guildId?: string | undefined;
  /** Of the connection that ended, where that is what happened. */
  closeCode?: number | undefined;
  /** Of the HTTP answer, where the gateway did not upgrade. Browsers do not show it. */
  status?: number | undefined;
  /** Milliseconds that the gateway asks to wait. */
  retryAfter?: number | undefined;
  cause?: unknown;
}

/**
 * One thing that went wrong. Most are told by `on("error")` while the client goes on by itself;
 * `connect()` rejects with the one that ended it.
 */
export class GatewayError extends Error {
  override readonly name: string = "GatewayError";
  /**
   * A word. The gateway's own, such as `forbidden`; or the client's: `unreachable`,
   * `upgrade_refused`, `connection_lost`, `connect_timeout`, `ready_timeout`, `identify_timeout`,
   * `silent`, `token_failed`, `token_timeout`, `token_refused`, `unauthorized`, `bad_message`,
   * `closed`, `subscribed`, `unsubscribed`, `listener_failed`, `store_failed`.
   */
  readonly code: string;
  readonly event: string | undefined;
  readonly guildId: string | undefined;
  readonly closeCode: number | undefined;
  readonly status: number | undefined;
  readonly retryAfter: number | undefined;

  constructor(code: string, message: string, details: ErrorDetails = {}) {
    super(message, { cause: details.cause });
    this.code = code;
    this.event = details.event;
    this.guildId = details.guildId;
    this.closeCode = details.closeCode;
    this.status = details.status;
    this.retryAfter = details.retryAfter;
  }
}

/**
 * Thrown by an application's token function: there is no token, and there will be none. The user
 * has logged out. The client closes.
 */
export class Unauthorized extends Error {
  override readonly name: string = "Unauthorized";
}
