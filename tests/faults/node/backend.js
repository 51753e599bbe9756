// A server of Node as people write it, by options in JSON as its first argument; it listens on PORT.
//
//   kind        "ws" (default), "socket.io", "sockjs", "h2"
//   page        what other requests are answered with (status 200), or {"status":N,"text":T}; without it ws stands alone
//   path        the path of the WebSocket
//   delay       milliseconds until the handshake is answered
//   origins     pages that may open a WebSocket (one without Origin may)
//   token       what Authorization must be; cookie: what Cookie must hold; each else 401
//   query       what the URL must hold, else 401
//   hosts       names under which it answers, else 403 "Invalid Host header" for everything
//   subprotocol the one it speaks; strict: without it the socket is closed with 4406
//   json        closes with 4400 what is no JSON
//   greeting    said when the socket is open; mute: hears and says nothing back
//   close       [code, reason, milliseconds] after the socket is open; code 0 ends the connection without a Close frame
//   maxPayload, deflate    as in ws
//   ping        milliseconds between its pings
//   heartbeat   milliseconds between its pings; who has not answered the last one is cut off
//   late        as origins, but the socket is opened first and closed with 1008
//   cert, key   files, for TLS
'use strict';
const fs = require('fs');
const path = require('path');
const load = (name, room = 'NODE_ROOM') => require(path.join(process.env[room], 'node_modules', name));
const o = JSON.parse(process.argv[2] || '{}');
const port = Number(process.env.PORT);
const tls = o.cert ? { cert: fs.readFileSync(o.cert), key: fs.readFileSync(o.key) } : null;
const page = typeof o.page === 'string' ? { status: 200, text: o.page } : o.page;

const hostKnown = request => !o.hosts || o.hosts.includes((request.headers.host || '').split(':')[0]);

const answer = (request, response) => {
  if (!hostKnown(request)) {
    response.writeHead(403);
    return response.end('Invalid Host header');
  }
  const found = page && (!page.at || page.at === request.url.split('?')[0]) ? page : { status: 404, text: 'Not Found' };
  response.writeHead(found.status, { 'Content-Type': 'text/html', ...(found.headers || {}) });
  response.end(found.text);
};

const make = () => (tls ? require('https').createServer(tls, answer) : require('http').createServer(answer));

if (o.kind === 'socket.io') {
  const server = make();
  const io = new (load('socket.io').Server)(server, o.settings || {});
  io.on('connection', socket => socket.emit('welcome', 'hello'));
  server.listen(port, '127.0.0.1');
} else if (o.kind === 'sockjs') {
  const server = make();
  const echo = load('sockjs', 'SOCKJS_ROOM').createServer({ log: () => {} });
  echo.on('connection', socket => socket.on('data', message => socket.write(message)));
  echo.installHandlers(server, { prefix: o.path || '/sockjs' });
  server.listen(port, '127.0.0.1');
} else if (o.kind === 'h2') {
  // HTTP/2 and nothing else, as a gRPC server or a Node server without `allowHTTP1` has it.
  const server = require('http2').createSecureServer(tls, (request, response) => response.end('hello'));
  server.listen(port, '127.0.0.1');
} else {
  const { WebSocketServer } = load('ws');
  const refusal = request => {
    if (o.token && request.headers.authorization !== o.token) return 401;
    if (o.query && !request.url.includes(o.query)) return 401;
    if (o.cookie && !(request.headers.cookie || '').includes(o.cookie)) return 401;
    if (o.origins && request.headers.origin && !o.origins.includes(request.headers.origin)) return 403;
    return 0;
  };
  const options = {
    path: o.path,
    maxPayload: o.maxPayload,
    perMessageDeflate: Boolean(o.deflate),
    // sleep is the promise: a server that is slow to answer.
    verifyClient: ({ req }, done) => setTimeout(() => done(!refusal(req), refusal(req)), o.delay || 0),
    handleProtocols: o.subprotocol ? offered => (offered.has(o.subprotocol) ? o.subprotocol : false) : undefined,
  };
  let sockets;
  if (page || tls || o.hosts) {
    const server = make();
    sockets = new WebSocketServer({ noServer: true, ...options });
    server.on('upgrade', (request, socket, head) => {
      if (!hostKnown(request)) return socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 19\r\nConnection: close\r\n\r\nInvalid Host header');
      if (o.path && request.url.split('?')[0] !== o.path) {
        return socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\nConnection: close\r\n\r\nNot Found');
      }
      sockets.handleUpgrade(request, socket, head, opened => sockets.emit('connection', opened, request));
    });
    server.listen(port, '127.0.0.1');
  } else {
    sockets = new WebSocketServer({ port, host: '127.0.0.1', ...options });
  }
  sockets.on('connection', (socket, request) => {
    socket.on('error', () => {});
    if (o.strict && socket.protocol !== o.subprotocol) return socket.close(4406, 'Subprotocol not acceptable');
    if (o.late && !o.late.includes(request.headers.origin)) return socket.close(1008, 'origin not allowed');
    if (o.greeting) socket.send(o.greeting);
    if (o.close) {
      const [code, reason, after] = o.close;
      // sleep is the promise: a server that ends a socket after a time.
      setTimeout(() => (code ? socket.close(code, reason) : socket.terminate()), after || 0);
    }
    if (o.heartbeat) {
      let alive = true;
      socket.on('pong', () => { alive = true; });
      const timer = setInterval(() => {
        if (!alive) return socket.terminate();
        alive = false;
        socket.ping();
      }, o.heartbeat);
      socket.on('close', () => clearInterval(timer));
    }
    if (o.ping) {
      const timer = setInterval(() => socket.ping(), o.ping);
      socket.on('close', () => clearInterval(timer));
    }
    socket.on('message', (data, binary) => {
      if (o.json) {
        try {
          JSON.parse(data.toString());
        } catch {
          return socket.close(4400, 'Invalid message received');
        }
      }
      if (!o.mute) socket.send(data, { binary });
    });
  });
}
