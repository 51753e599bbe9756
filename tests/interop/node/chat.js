// A chat of socket.io, as its own guide writes it. "server" serves; "clients URL" lets two people talk.
//
// The server prints {"port":N}; the clients print {"transport":NAME,"heard":TEXT} for each transport that worked.
'use strict';
const path = require('path');
const load = name => require(path.join(process.env.NODE_ROOM, 'node_modules', name));
const say = what => console.log(JSON.stringify(what));

if (process.argv[2] === 'server') {
  const http = require('http').createServer();
  const io = new (load('socket.io').Server)(http);
  io.on('connection', socket => {
    socket.on('chat message', (text, done) => {
      io.emit('chat message', text);
      done('delivered');
    });
  });
  http.listen(0, '127.0.0.1', () => say({ port: http.address().port }));
} else {
  talk(process.argv[3]).then(() => process.exit(0), error => {
    say({ error: error.message });
    process.exit(1);
  });
}

async function talk(url) {
  const { io } = load('socket.io-client');
  for (const transports of [['websocket'], ['polling'], ['polling', 'websocket']]) {
    const [ann, bob] = [0, 1].map(() => io(url, { transports, forceNew: true, reconnection: false }));
    await Promise.all([ann, bob].map(socket => new Promise((ready, fail) => {
      socket.on('connect', ready);
      socket.on('connect_error', fail);
    })));
    if (transports.length === 2) {
      // Begun by polling, goes on by WebSocket: the usual way of a browser.
      await Promise.all([ann, bob].map(socket => socket.io.engine.transport.name === 'websocket' ? null
        : new Promise(done => socket.io.engine.once('upgrade', done))));
    }
    const heard = new Promise(done => bob.on('chat message', done));
    const receipt = await ann.timeout(10000).emitWithAck('chat message', `hello by ${transports}`);
    say({ transport: bob.io.engine.transport.name, begun: transports[0], heard: await heard, receipt });
    ann.close();
    bob.close();
  }
}
