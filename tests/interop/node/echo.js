// A backend of Node: `ws` echoes every message, plain HTTP echoes every body.
//
// Prints {"port":N} once it listens, then {"closed":CODE,"reason":TEXT} for each socket that closes.
// Arguments: "deflate" offers permessage-deflate.
'use strict';
const http = require('http');
const path = require('path');
const { WebSocketServer } = require(path.join(process.env.NODE_ROOM, 'node_modules', 'ws'));

const say = what => console.log(JSON.stringify(what));
const server = http.createServer((request, response) => {
  const chunks = [];
  request.on('data', chunk => chunks.push(chunk));
  request.on('end', () => {
    const body = Buffer.concat(chunks);
    response.setHeader('X-Seen', JSON.stringify({ method: request.method, url: request.url, headers: request.headers }));
    response.setHeader('Content-Type', 'application/octet-stream');
    response.end(body.length ? body : 'hello');
  });
});
const sockets = new WebSocketServer({ server, perMessageDeflate: process.argv.includes('deflate') });
sockets.on('connection', (socket, request) => {
  say({ opened: request.url, headers: request.headers, extensions: socket.extensions });
  socket.on('message', (data, binary) => socket.send(data, { binary }));
  socket.on('close', (code, reason) => say({ closed: code, reason: reason.toString() }));
  socket.on('error', () => {});
});
server.listen(Number(process.env.PORT || 0), '127.0.0.1', () => say({ port: server.address().port }));
