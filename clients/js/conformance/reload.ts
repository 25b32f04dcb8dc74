// A page that keeps its place over a reload. Its address tells it where to connect, and as whom:
// `#{"url": ..., "userId": ..., "token": ...}`.
import { GatewayClient, sessionStore } from "@gatewayd/client";

const given = JSON.parse(decodeURIComponent(location.hash.slice(1))) as {
  url: string;
  userId: string;
  token: string;
};
const heard: unknown[] = [];
const client = new GatewayClient({ ...given, guildIds: ["g1"], store: sessionStore("place") });
client.on("*", (data) => heard.push(data));
client.on("resync", (notice) => heard.push(notice));
await client.connect();
Object.assign(globalThis, { heard });
