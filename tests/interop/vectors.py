"""Asks a real nginx where keys, addresses and turns go, and writes what it did to tests/vectors/balance.txt.

Run by hand when a method changes: `NGINX_BINARY=/path/to/nginx python3 tests/interop/vectors.py` (1.29.6 or newer, for sticky).
The backends are servers of that nginx itself, each of which answers with its number.
"""

import http.client
import os
import pathlib
import subprocess
import tempfile
import time

NGINX = os.environ.get("NGINX_BINARY", "nginx")
FILE = pathlib.Path(__file__).resolve().parents[1] / "vectors" / "balance.txt"
PORT = 28100
SOCKET = "/tmp/longwire-vector.sock"

# Of each case: the method, and its servers as written. The last word of a case says what is asked.
CASES = [
    ("", ["127.0.0.1:28101 weight=5", "127.0.0.1:28102", "127.0.0.1:28103"], "turns"),
    ("", ["127.0.0.1:28101 weight=7", "127.0.0.1:28102 weight=3", "127.0.0.1:28103 weight=2", "127.0.0.1:28104 backup"],
     "turns"),
    ("", ["127.0.0.1:28101 weight=3", "127.0.0.1:28102 down", "127.0.0.1:28103 weight=11"], "turns"),
    ("least_conn", ["127.0.0.1:28101 weight=3", "127.0.0.1:28102", "127.0.0.1:28103 weight=2"], "turns"),
    ("hash $arg_key", ["127.0.0.1:28101", "127.0.0.1:28102", "127.0.0.1:28103"], "keys"),
    ("hash $arg_key", ["127.0.0.1:28101 weight=5", "127.0.0.1:28102 down weight=4", "127.0.0.1:28103 weight=2"], "keys"),
    ("hash $arg_key consistent", ["127.0.0.1:28101", "127.0.0.1:28102", "127.0.0.1:28103"], "keys"),
    ("hash $arg_key consistent", ["127.0.0.1:28101 weight=3", "[::1]:28102", f"unix:{SOCKET}", "127.0.0.1:28104 down"],
     "keys"),
    ("ip_hash", ["127.0.0.1:28101", "127.0.0.1:28102", "127.0.0.1:28103"], "addresses"),
    ("ip_hash", ["127.0.0.1:28101 weight=2", "127.0.0.1:28102 down", "127.0.0.1:28103 weight=5"], "addresses"),
    ("sticky cookie id", ["127.0.0.1:28101", "[::1]:28102", f"unix:{SOCKET}", "127.0.0.1:28104 route=d"], "cookies"),
]

KEYS = [f"user-{n}" for n in range(40)] + [f"{n * 7919 % 100003}" for n in range(40)]
ADDRESSES = ([f"{n * 37 % 224}.{n * 91 % 256}.{n * 13 % 256}.{n}" for n in range(1, 50)]
             + [f"2001:db8:{n:x}::{n * 7:x}" for n in range(1, 30)])


def configuration():
    listens = {"28102": ["127.0.0.1:28102", "[::1]:28102"], "28103": ["127.0.0.1:28103", f"unix:{SOCKET}"]}
    text = ["daemon off; master_process off; pid nginx.pid; error_log stderr emerg; events {} http { access_log off;"]
    for port in range(28101, 28105):
        lines = "".join(f"listen {place};" for place in listens.get(str(port), [f"127.0.0.1:{port}"]))
        text.append(f"server {{ {lines} return 200 {port - 28101}; }}")
    for number, (method, servers, _) in enumerate(CASES):
        lines = f"{method};" if method else ""
        lines += "".join(f"server {server};" for server in servers)
        text.append(f"upstream c{number} {{ {lines} }}")
    text.append(f"server {{ listen 127.0.0.1:{PORT}; set_real_ip_from 127.0.0.1; real_ip_header X-From; location /ready {{ return 200 0; }}")
    text += [f"location /{number} {{ proxy_pass http://c{number}; }}" for number in range(len(CASES))]
    return "\n".join([*text, "}}"])


def ask(number, query="", headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=5)
    connection.request("GET", f"/{number}{query}", headers=headers or {})
    answer = connection.getresponse()
    place = int(answer.read())
    connection.close()
    return place, answer.getheader("Set-Cookie", "")


def vectors():
    for number, (method, servers, what) in enumerate(CASES):
        yield f"method {method or 'round_robin'}"
        yield from (f"server {server}" for server in servers)
        if what == "turns":
            yield "turns " + " ".join(str(ask(number)[0]) for _ in range(60))
        elif what == "keys":
            yield from (f"key {key} {ask(number, f'?key={key}')[0]}" for key in KEYS)
        elif what == "addresses":
            yield from (f"address {ip} {ask(number, headers={'X-From': ip})[0]}" for ip in ADDRESSES)
        else:
            for _ in servers:
                place, cookie = ask(number)
                yield f"cookie {cookie} {place}"
        yield ""


def main():
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "nginx.conf").write_text(configuration())
        nginx = subprocess.Popen([NGINX, "-p", folder, "-e", "stderr", "-c", f"{folder}/nginx.conf"])
        try:
            end = time.monotonic() + 10
            while True:
                try:
                    ask("ready")
                    break
                except OSError:
                    assert time.monotonic() < end and nginx.poll() is None, "nginx does not answer"
                    # sleep is the promise: a server without a word of readiness can only be asked again.
                    time.sleep(0.05)
            FILE.parent.mkdir(exist_ok=True)
            version = subprocess.run([NGINX, "-v"], capture_output=True, text=True).stderr.strip()
            FILE.write_text(f"# Written by tests/interop/vectors.py: what {version} did.\n\n" + "\n".join(vectors()))
        finally:
            nginx.terminate()
            nginx.wait()
            pathlib.Path(SOCKET).unlink(missing_ok=True)


if __name__ == "__main__":
    main()
