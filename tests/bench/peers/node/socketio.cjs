// Peer of the benchmark: socket.io with its redis-streams adapter. `node socketio.cjs PORT REDIS_URL SECRET`.
// WebSocket only, no compression, connection state recovery off (it would add an offset to every packet).
"use strict";
const http = require("node:http");
const jwt = require("jsonwebtoken");
const { createAdapter } = require("@socket.io/redis-streams-adapter");
const { createClient } = require("redis");
const { Server } = require("socket.io");

const [port, redisUrl, secret] = process.argv.slice(2);

async function main() {
  const client = createClient({ url: redisUrl });
  await client.connect();
  const server = http.createServer();
  const io = new Server(server, {
    adapter: createAdapter(client),
    transports: ["websocket"],
    perMessageDeflate: false,
    serveClient: false,
    maxHttpBufferSize: 4096,
  });
  io.use((socket, next) => {
    const token = (socket.handshake.headers.authorization ?? "").slice("Bearer ".length);
    jwt.verify(token, secret, { algorithms: ["HS256"] }, (error) => next(error ?? undefined));
  });
  io.on("connection", (socket) => {
    // Recommended by its documentation: frees the first request's memory.
    socket.conn.request = null;
    socket.on("subscribe", (rooms, answer) => {
      socket.join(rooms);
      answer();
    });
  });
  server.listen({ port: Number(port), host: "127.0.0.1", backlog: 4096 });
}

main();
