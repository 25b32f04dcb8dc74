// socket.io: node socket_io.js WEB CONTROL ws|uws

const { Server } = require("socket.io");
const { serveLines } = require("./lines.js");

const [web, control, engine] = process.argv.slice(2);
const io = new Server({ transports: ["websocket"], pingInterval: 300000, serveClient: false });
const ready = () =>
  serveLines(Number(control), (line) => {
    const { event, data } = JSON.parse(line);
    io.emit(event, data);
  });
if (engine === "uws") {
  const app = require("@trufflesuite/uws-js-unofficial").App();
  io.attachApp(app);
  app.listen("127.0.0.1", Number(web), ready);
} else {
  const http = require("node:http").createServer();
  io.attach(http);
  http.listen({ port: Number(web), host: "127.0.0.1", backlog: 1024 }, ready);
}
