// The application's part in Node: `node driver.js [own] CONTROL_URL`, where `own` is for Node's own
// WebSocket instead of that of the package ws.
import type { GatewayClient, WebSocketClass } from "@gatewayd/client";
import { WebSocket as Package } from "ws";

import { play } from "./part.js";

const url = process.argv.at(-1) ?? "";
const own = process.argv[2] === "own";
const version = `node ${process.versions.node}`;

await play(
  new Package(url) as unknown as WebSocket,
  own ? `${version}, its own WebSocket` : `${version}, ws`,
  own ? [] : ["status"],
  {
    WebSocket: own ? undefined : (Package as WebSocketClass),
    network: (client: GatewayClient, online: boolean) => client.network(online),
    awake: (client: GatewayClient) => client.awake(),
  },
);
process.exit(0);
