"""Streams that a proxy likes least that looks at frames: many of one byte in one read, and reads of one byte."""

import socket
import threading

import procs

# A message of one byte as a client sends it, and as the backend echoes it.
FRAME = b"\x82\x81\x5a\xc3\x17\x88\x3b"
ECHO = 3


def connect(port):
    """A WebSocket, as a bare socket."""
    link = socket.create_connection(("127.0.0.1", port), 10)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link.sendall(procs.UPGRADE.format(port).encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = link.recv(1)
        if not byte:
            raise RuntimeError("no WebSocket was opened")
        head += byte
    return link


def drain(link, expected):
    left = expected
    while left > 0:
        got = len(link.recv(1 << 20))
        if got == 0:
            raise RuntimeError(f"{left} of {expected} bytes did not come back")
        left -= got


def tiny_frames(links, count):
    """Sends so many messages on the first connection, as many in a write as fit, and awaits the echoes."""
    block = FRAME * 8000
    rounds = count // 8000
    reader = threading.Thread(target=drain, args=(links[0], rounds * 8000 * ECHO))
    reader.start()
    for _ in range(rounds):
        links[0].sendall(block)
    reader.join(60)
    if reader.is_alive():
        raise RuntimeError("the echoes did not come")
    return rounds * len(block)


def tiny_reads(links, count):
    """Sends so many messages in turns, byte by byte. Between two bytes of one connection all others have a byte, so
    that a proxy which keeps up reads each alone."""
    rounds = max(count // len(links), 1)
    for _ in range(rounds):
        for byte in FRAME:
            for link in links:
                link.send(bytes([byte]))
        for link in links:
            drain(link, ECHO)
    return rounds * len(links) * len(FRAME)
