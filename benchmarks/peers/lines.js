// Lines from the control port.

const net = require("node:net");

exports.serveLines = (port, broadcast) => {
  net
    .createServer((socket) => {
      let rest = Buffer.alloc(0);
      socket.on("data", (chunk) => {
        let data = rest.length ? Buffer.concat([rest, chunk]) : chunk;
        let at = 0;
        for (let end; (end = data.indexOf(10, at)) >= 0; at = end + 1)
          broadcast(data.subarray(at, end));
        rest = data.subarray(at);
      });
    })
    .listen(port, "127.0.0.1");
};
