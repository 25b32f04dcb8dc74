/** What the gateway said, read with as little faith as a network deserves. */
export interface Message {
  readonly event: string;
  /** Of any type. */
  readonly data: unknown;
  readonly id: string | undefined;
  readonly guildId: string | undefined;
}

export type Members = Readonly<Record<string, unknown>>;

/** A value as an object; an empty one if it is none. */
export function members(value: unknown): Members {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Members)
    : {};
}

/** A value as a string that is not empty. */
export function text(value: unknown): string | undefined {
  return typeof value === "string" && value ? value : undefined;
}

/** A value as a number that is not negative. */
export function count(value: unknown): number | undefined {
  return typeof value === "number" && value >= 0 ? value : undefined;
}

/** A value as a list of strings. */
export function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((one) => text(one) !== undefined) : [];
}

/** One text message, or `undefined` if it is none of this protocol. */
export function read(raw: unknown): Message | undefined {
  let value: unknown;
  try {
    value = JSON.parse(raw as string);
  } catch {
    return undefined;
  }
  const { event, data, id, guildId } = members(value);
  if (typeof event !== "string") return undefined;
  return { event, data, id: text(id), guildId: text(guildId) };
}

/** A command. What is `undefined` is left out. */
export function write(event: string, data: object): string {
  return JSON.stringify({ event, data });
}
