// A client of Node that opens a WebSocket and waits for its end. Prints {"local":PORT} once it is open, and at the end
// {"closed":CODE,"reason":TEXT}.
'use strict';
const path = require('path');
const WebSocket = require(path.join(process.env.NODE_ROOM, 'node_modules', 'ws'));

const say = what => console.log(JSON.stringify(what));
const socket = new WebSocket(process.argv[2]);
socket.on('open', () => say({ local: socket._socket.localPort }));
socket.on('close', (code, reason) => say({ closed: code, reason: reason.toString() }));
socket.on('error', error => say({ error: error.message }));
