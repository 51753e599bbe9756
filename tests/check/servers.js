// Real servers of Node for the proofs: prints their ports as one line of JSON, and ends with its standard input.
//
// ws        WebSocketServer alone: what is no handshake gets 426
// app       a web application (200 everywhere) with WebSockets on the same port, at any path
// refuses   an application that answers handshakes with 401
// sio, sio2 two servers of one socket.io application, which know nothing of each other's sessions; 404 at other paths
"use strict";
const http = require("http");
const modules = process.argv[2];
const { WebSocketServer } = require(`${modules}/ws`);
const { Server } = require(`${modules}/socket.io`);

function echo(socket) {
    socket.on("error", () => {});
    socket.on("message", (data, binary) => socket.send(data, { binary }));
    socket.send("hello");
}

function application(status) {
    return http.createServer((request, response) => {
        response.writeHead(status, { "Content-Type": "text/plain" });
        response.end(`an ordinary answer for ${request.url}\n`);
    });
}

function listen(server) {
    return new Promise((done) => server.listen(0, "127.0.0.1", () => done(server.address().port)));
}

async function main() {
    const ports = {};
    const alone = new WebSocketServer({ host: "127.0.0.1", port: 0 });
    alone.on("connection", echo);
    await new Promise((done) => alone.on("listening", done));
    ports.ws = alone.address().port;

    const app = application(200);
    new WebSocketServer({ server: app }).on("connection", echo);
    ports.app = await listen(app);

    const refuses = application(200);
    new WebSocketServer({ server: refuses, verifyClient: () => false }).on("connection", echo);
    ports.refuses = await listen(refuses);

    for (const name of ["sio", "sio2"]) {
        const server = application(404);
        new Server(server);
        ports[name] = await listen(server);
    }
    console.log(JSON.stringify(ports));
}

process.stdin.on("end", () => process.exit(0)).resume();
main();
