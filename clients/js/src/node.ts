import { whereMissing } from "./socket.js";

export * from "./index.js";

// Node has a WebSocket of its own from version 22.
whereMissing(async () => {
  try {
    return (await import("ws")).WebSocket;
  } catch (cause) {
    const why = "this Node has no WebSocket: npm install ws, or pass one as the option `WebSocket`";
    throw new Error(why, { cause });
  }
});
