// ws: node ws.js WEB CONTROL deflate|plain

const { WebSocketServer } = require("ws");
const { serveLines } = require("./lines.js");

const [web, control, compression] = process.argv.slice(2);
const server = new WebSocketServer({
  host: "127.0.0.1",
  port: Number(web),
  backlog: 1024,
  perMessageDeflate: compression === "deflate" ? { threshold: 0 } : false,
});
server.on("listening", () =>
  serveLines(Number(control), (line) => {
    for (const client of server.clients) client.send(line, { binary: false });
  })
);
