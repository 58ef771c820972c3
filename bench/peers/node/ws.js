// A bare WebSocket server on the package `ws` that speaks the few words of Azure's JSON subprotocol which the benchmark
// needs, so that its frames hold what ours hold. It checks no token and no permission; that is our handicap.
//
// It fans out in the obvious, good way: the text is made once, and sent to each member in a plain loop.

import { WebSocketServer } from "ws";

const [port] = process.argv.slice(2);
const groups = new Map();

function join(socket, name) {
  let members = groups.get(name);
  if (members === undefined) groups.set(name, (members = new Set()));
  members.add(socket);
  socket.groups.add(name);
}

function leave(socket, name) {
  const members = groups.get(name);
  if (members === undefined) return;
  members.delete(socket);
  if (members.size === 0) groups.delete(name);
}

function send({ group, dataType, data }) {
  const members = groups.get(group);
  if (members === undefined) return;
  const text = JSON.stringify({ type: "message", from: "group", group, dataType, data });
  for (const member of members) member.send(text);
}

function acknowledge(socket, ackId) {
  if (ackId !== undefined) socket.send(JSON.stringify({ type: "ack", ackId, success: true }));
}

// A backlog as long as ours, since Node's own of 511 would make ten thousand clients at once try again and again.
const server = new WebSocketServer({ host: "127.0.0.1", port: Number(port), backlog: 4096, perMessageDeflate: false });

server.on("connection", (socket) => {
  socket.groups = new Set();
  socket.on("message", (bytes) => {
    const request = JSON.parse(bytes);
    if (request.type === "sendToGroup") send(request);
    else if (request.type === "joinGroup") join(socket, request.group);
    acknowledge(socket, request.ackId);
  });
  socket.on("close", () => {
    for (const name of socket.groups) leave(socket, name);
  });
  socket.on("error", () => socket.terminate());
});
