/** Who is told what the browser says of the network and the page. */
export interface Watcher {
  network(online: boolean): void;
  awake(): void;
}

/**
 * Tell of the network going and coming, and of a page that is looked at again after its timers may
 * have slept. Does nothing outside of browsers. Answers with a function that ends it.
 */
export function watch(watcher: Watcher): () => void {
  const wakes = (): void => watcher.awake();
  const shown = (): void => {
    if (document.visibilityState === "visible") watcher.awake();
  };
  const signals: [EventTarget | undefined, string, (event: Event) => void][] = [
    [target(globalThis), "online", () => watcher.network(true)],
    [target(globalThis), "offline", () => watcher.network(false)],
    [target(globalThis), "pageshow", wakes],
    [target(globalThis.document), "visibilitychange", shown],
    [target(globalThis.document), "resume", wakes],
  ];
  for (const [on, name, listener] of signals) on?.addEventListener(name, listener);
  return () => {
    for (const [on, name, listener] of signals) on?.removeEventListener(name, listener);
  };
}

function target(value: Partial<EventTarget> | undefined): EventTarget | undefined {
  return typeof value?.addEventListener === "function" ? (value as EventTarget) : undefined;
}
