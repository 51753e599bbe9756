// One of several instances of a socket.io application, or clients of it.
//
// "server NAME" prints {"port":N}. "clients URL COUNT OPTIONS" prints for each client {"client":I,"at":NAME} when it
// is connected and upgraded to WebSocket, {"client":I,"gone":REASON} when it is not any more, and
// {"client":I,"failed":WORDS} when it cannot connect; a line on its standard input lets each say something, and those
// whose instance answers print {"client":I,"answer":NAME}.
'use strict';
const path = require('path');
const load = name => require(path.join(process.env.NODE_ROOM, 'node_modules', name));
const say = what => console.log(JSON.stringify(what));

if (process.argv[2] === 'server') {
  const name = process.argv[3];
  const http = require('http').createServer();
  const io = new (load('socket.io').Server)(http);
  io.on('connection', socket => {
    socket.emit('at', name);
    socket.on('say', answer => answer(name));
  });
  http.listen(Number(process.env.PORT), '127.0.0.1', () => say({ port: http.address().port }));
} else {
  const [url, count, options] = process.argv.slice(3);
  const { io } = load('socket.io-client');
  const sockets = [];
  for (let client = 0; client < Number(count); client++) {
    const socket = io(url, { forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 200, ...JSON.parse(options) });
    sockets.push(socket);
    socket.on('at', at => {
      const engine = socket.io.engine;
      const told = () => say({ client, at, transport: engine.transport.name });
      if (engine.transport.name === 'websocket') told(); else engine.once('upgrade', told);
    });
    socket.on('disconnect', gone => say({ client, gone }));
    socket.on('connect_error', error => say({ client, failed: error.message }));
  }
  require('readline').createInterface({ input: process.stdin }).on('line', () => {
    sockets.forEach((socket, client) => socket.emit('say', answer => say({ client, answer })));
  });
}
