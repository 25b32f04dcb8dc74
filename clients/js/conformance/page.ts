// The application's part in a page, which is told of the control URL by its address: `#ws://...`.
import { play } from "./part.js";

let visible = true;
Object.defineProperty(document, "visibilityState", { get: () => (visible ? "visible" : "hidden") });

await play(new WebSocket(location.hash.slice(1)), `browser, ${navigator.userAgent}`, [], {
  network: (_client, online) => dispatchEvent(new Event(online ? "online" : "offline")),
  awake: () => {
    for (visible of [false, true]) document.dispatchEvent(new Event("visibilitychange"));
  },
});

Object.assign(globalThis, { over: true });
