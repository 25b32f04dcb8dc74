// uWebSockets.js: node uwebsockets.js WEB CONTROL deflate|plain

const uws = require("@trufflesuite/uws-js-unofficial");
const { serveLines } = require("./lines.js");

const [web, control, compression] = process.argv.slice(2);
const app = uws.App();
app.ws("/*", {
  compression: compression === "deflate" ? uws.SHARED_COMPRESSOR : uws.DISABLED,
  maxBackpressure: 64 * 1024 * 1024,
  idleTimeout: 0,
  open: (socket) => socket.subscribe("events"),
});
app.listen("127.0.0.1", Number(web), () =>
  serveLines(Number(control), (line) => app.publish("events", line, false, compression === "deflate"))
);
