/** Milliseconds in a `Retry-After` header (RFC 9110, section 10.2.3): of seconds, or a date. */
export function retryAfter(header: string | undefined, wall: number): number | undefined {
  const text = header?.trim() ?? "";
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  const date = Date.parse(text);
  return Number.isNaN(date) ? undefined : Math.max(0, date - wall);
}
