// A client of Node: opens, is silent, and says what became of it.
//
// Arguments: URL, seconds of silence, "deflate" if compression is wanted.
// Prints {"opened":EXTENSIONS}, {"ping":N} for each ping, and at the end {"echo":TEXT} or {"closed":CODE,"reason":TEXT}.
'use strict';
const path = require('path');
const WebSocket = require(path.join(process.env.NODE_ROOM, 'node_modules', 'ws'));

const say = what => console.log(JSON.stringify(what));
const [url, silence] = process.argv.slice(2);
const socket = new WebSocket(url, {
  perMessageDeflate: process.argv.includes('deflate'),
  rejectUnauthorized: false,
  servername: 'example.com',
});
let pings = 0, silent;
socket.on('open', () => {
  say({ opened: socket.extensions });
  // sleep is the promise: the silence is what is tested.
  silent = setTimeout(() => socket.send('after the silence ' + 'x'.repeat(5000)), Number(silence) * 1000);
});
socket.on('ping', () => say({ ping: ++pings }));
socket.on('message', data => {
  say({ echo: data.toString().slice(0, 17), length: data.length });
  socket.close(1000);
});
socket.on('close', (code, reason) => {
  clearTimeout(silent);
  say({ closed: code, reason: reason.toString() });
});
socket.on('error', error => say({ error: error.message }));
