/** Where an application keeps its place from one page load, or one run, to the next. */
export interface Store {
  /** What was saved last. */
  load(): string | null | undefined;
  /** Keep this. Called after the listeners have had the event. */
  save(lastEventId: string): void;
}

/**
 * Keeps the place in the tab's `sessionStorage`, so that a reloaded page resumes. Use one key for
 * each user.
 */
export function sessionStore(key: string): Store {
  return {
    load: () => sessionStorage.getItem(key),
    save: (lastEventId) => sessionStorage.setItem(key, lastEventId),
  };
}
