// Peer of the benchmark: Node `ws` behind Redis Pub/Sub. `node ws.cjs PORT REDIS_URL SECRET`.
// A room's messages are forwarded as they come, as bytes: nothing is parsed, copied or encoded per client.
"use strict";
const http = require("node:http");
const jwt = require("jsonwebtoken");
const { createClient } = require("redis");
const { WebSocketServer } = require("ws");

const [port, redisUrl, secret] = process.argv.slice(2);
const PREFIX = "bench:";
const rooms = new Map();
const server = http.createServer();
const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false, maxPayload: 4096, clientTracking: false });

function join(socket, names) {
  for (const name of names) {
    let room = rooms.get(name);
    if (!room) rooms.set(name, (room = new Set()));
    room.add(socket);
  }
  socket.joined = names;
}

function leave(socket) {
  for (const name of socket.joined ?? []) {
    const room = rooms.get(name);
    if (room?.delete(socket) && room.size === 0) rooms.delete(name);
  }
}

function onMessage(data) {
  const command = JSON.parse(data);
  if (command.type === "subscribe") {
    join(this, command.channels);
    this.send('{"type":"subscribed"}');
  }
}

function onClose() {
  leave(this);
}

server.on("upgrade", (request, socket, head) => {
  try {
    jwt.verify((request.headers.authorization ?? "").slice("Bearer ".length), secret, { algorithms: ["HS256"] });
  } catch {
    socket.end("HTTP/1.1 401 Unauthorized\r\n\r\n");
    return;
  }
  sockets.handleUpgrade(request, socket, head, (client) => {
    client.on("message", onMessage);
    client.on("close", onClose);
    client.on("error", onClose);
  });
});

async function main() {
  const subscriber = createClient({ url: redisUrl });
  await subscriber.connect();
  await subscriber.pSubscribe(
    PREFIX + "*",
    (message, channel) => {
      const room = rooms.get(channel.toString().slice(PREFIX.length));
      if (room) for (const socket of room) socket.send(message, { binary: false });
    },
    true,
  );
  server.listen({ port: Number(port), host: "127.0.0.1", backlog: 4096 });
}

main();
