"""90 tunnels in a network of its own, in which there are 64 ports to connect from: how many open, and what the log says.

    unshare --net python tests/check/ports.py NGINX bad|good
"""

import asyncio
import fcntl
import itertools
import json
import pathlib
import re
import socket
import struct
import sys

import run
from stand import Nginx

SET_FLAGS, UP = 0x8914, 1


async def main(nginx, which):
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sh14x", b"lo", UP))
    pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("40000 40063")
    # Clients and taps take none of them.
    numbers = itertools.count(50_000)
    run.House.source = staticmethod(lambda: ("127.0.0.9", next(numbers)))
    async with run.House() as house, run.Room(house, "source-ports", Nginx(nginx)).stand(which) as stand:
        tunnels = await stand.many(90, "/ws/", at_once=10)
        said = re.search(r"connect\(\) to \S+ failed \([^)]*\)", stand.program.log)
        print(json.dumps({"open": sum(tunnel.status == 101 for tunnel in tunnels), "said": said and said[0]}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
