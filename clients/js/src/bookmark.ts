import type { Resume } from "./generated/events.js";

const REMEMBERED = 512;

/**
 * How far an application has come in the log, and which events it has had already.
 *
 * Ids are opaque: they are compared for being the same, never for being larger.
 */
export class Bookmark {
  /** The newest id of which nothing before is missing. */
  last: string | undefined;
  readonly #had = new Set<string>();
  #replaying = 0;
  #moved = false;

  constructor(last?: string) {
    this.last = last;
  }

  /**
   * A session begins. `head` is how far the log has come; what is replayed lies before it, so that
   * it counts only where nothing will be.
   */
  identified(head: string | undefined, resume: Partial<Resume> | undefined): void {
    this.#replaying = typeof resume?.replayed === "number" ? resume.replayed : 0;
    this.#moved = false;
    if (!this.#replaying) this.last = head ?? this.last;
  }

  /** An event came. Answers whether for the first time. */
  event(id: string): boolean {
    this.#replaying = Math.max(0, this.#replaying - 1);
    this.#moved = true;
    if (this.#had.has(id)) return false;
    this.#had.add(id);
    if (this.#had.size > REMEMBERED) {
      for (const oldest of this.#had) {
        this.#had.delete(oldest);
        break;
      }
    }
    this.last = id;
    return true;
  }

  /**
   * The gateway says how far the log has come. In the middle of a replay that is further than this
   * session has.
   */
  heartbeat(head: string | undefined): void {
    // Fewer events than announced come where a guild was lost on the way; a whole heartbeat
    // without any is the end of every replay.
    if (!this.#moved) this.#replaying = 0;
    this.#moved = false;
    if (!this.#replaying) this.last = head ?? this.last;
  }
}
