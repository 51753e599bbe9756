"""Many WebSocket clients on one epoll loop that note when their connections end, how, and when they are back."""

import errno
import os
import select
import socket
import struct
import time

REQUEST = (
    "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
).encode()
# Connections that are being opened at a time while the flock gathers.
OPENING = 100
# Who is not let in tries again after this long.
AGAIN = 0.05


class Bird:
    """One client, and its connection at the moment."""

    def __init__(self):
        self.socket, self.asked, self.open, self.input = None, False, False, b""
        # What it was told first, a close code, "FIN" or "RST", and when; when its connection was gone, and when it was
        # back.
        self.told = self.told_at = self.left_at = self.back_at = None


class Flock:
    """All clients. Whoever loses its connection comes back at once, to `home`."""

    def __init__(self, count, port):
        self.poll = select.epoll()
        self.birds = [Bird() for _ in range(count)]
        self.by_fd = {}
        self.port = self.home = port
        self.again = []
        self.refused = 0

    def gather(self, seconds=120):
        """Opens all connections."""
        until, begun, opened = time.monotonic() + seconds, 0, 0
        while opened < len(self.birds):
            while begun < len(self.birds) and begun - opened < OPENING:
                self.connect(self.birds[begun], self.port)
                begun += 1
            self.turn(0.1)
            opened = sum(bird.open for bird in self.birds[:begun])
            if time.monotonic() > until:
                raise RuntimeError(f"only {opened} of {len(self.birds)} clients connected")

    def watch(self, seconds, done):
        """Lets things happen."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not done():
            self.turn(0.1)

    def scatter(self):
        for bird in self.by_fd.values():
            bird.socket.close()

    def connect(self, bird, port):
        bird.socket = socket.socket()
        bird.socket.setblocking(False)
        bird.asked, bird.open, bird.input = False, False, b""
        bird.socket.connect_ex(("127.0.0.1", port))
        self.by_fd[bird.socket.fileno()] = bird
        self.poll.register(bird.socket, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)

    def turn(self, seconds):
        for fd, events in self.poll.poll(min(seconds, AGAIN) if self.again else seconds):
            if fd in self.by_fd:
                self.happened(self.by_fd[fd], events)
        now = time.monotonic()
        due = [bird for at, bird in self.again if at <= now]
        self.again = [(at, bird) for at, bird in self.again if at > now]
        for bird in due:
            self.connect(bird, self.home)

    def happened(self, bird, events):
        try:
            if events & select.EPOLLOUT and not bird.asked:
                error = bird.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if error:
                    raise OSError(error, os.strerror(error))
                bird.asked = True
                bird.socket.send(REQUEST)
            while True:
                data = bird.socket.recv(65536)
                if not data:
                    return self.ended(bird, "FIN")
                self.heard(bird, data)
        except BlockingIOError:
            pass
        except OSError as error:
            self.ended(bird, "RST" if error.errno in (errno.ECONNRESET, errno.EPIPE) else error.strerror)

    def heard(self, bird, data):
        bird.input += data
        if not bird.open:
            head, end, rest = bird.input.partition(b"\r\n\r\n")
            if not end:
                return
            if b" 101 " not in head[:20]:
                raise OSError(errno.ECONNREFUSED, "no 101")
            bird.open, bird.input = True, rest
            if bird.told_at is not None and bird.back_at is None:
                bird.back_at = time.monotonic()
        while len(bird.input) >= 2 and len(bird.input) >= 2 + (bird.input[1] & 0x7F):
            kind, size = bird.input[0] & 0x0F, bird.input[1] & 0x7F
            payload, bird.input = bird.input[2 : 2 + size], bird.input[2 + size :]
            if kind == 8:
                self.note(bird, struct.unpack(">H", payload[:2])[0] if size >= 2 else 1005)
            if kind in (8, 9):
                # A Close is echoed, a Ping is answered; masked with zeros.
                answer = 0x88 if kind == 8 else 0x8A
                bird.socket.send(bytes([answer, 0x80 | size, 0, 0, 0, 0]) + payload)

    def note(self, bird, what):
        if bird.told is None:
            bird.told, bird.told_at = what, time.monotonic()

    def ended(self, bird, how):
        """It comes back at once; whoever is not let in tries again a little later."""
        was_open = bird.open
        del self.by_fd[bird.socket.fileno()]
        bird.socket.close()
        if was_open:
            self.note(bird, how)
            bird.left_at = bird.left_at or time.monotonic()
            self.connect(bird, self.home)
        else:
            self.refused += 1
            self.again.append((time.monotonic() + AGAIN, bird))
