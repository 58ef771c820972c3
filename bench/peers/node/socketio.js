// A Socket.IO server as its documentation builds one: rooms, and an event to each. It checks no token and no permission.

import { createServer } from "node:http";
import { Server } from "socket.io";

const [port] = process.argv.slice(2);
const http = createServer();
const io = new Server(http, { transports: ["websocket"], perMessageDeflate: false, serveClient: false });

io.on("connection", (socket) => {
  socket.on("join", (group, done) => {
    socket.join(group);
    if (typeof done === "function") done();
  });
  socket.on("send", (group, text) => io.to(group).emit("message", text));
});

http.listen({ host: "127.0.0.1", port: Number(port), backlog: 4096 });
