//! Pure: what to write where, for each program that may stand in front.

use super::Fix;
use super::front::Front;
use crate::doctor::target::Target;

/// What lets a proxy pass the handshake on.
pub(super) fn upgrade(front: Option<Front>, target: &Target) -> Vec<Fix> {
    let Some(front) = front else {
        return vec![
            nginx_upgrade(target),
            apache_upgrade(target),
            Fix::new(
                "any other proxy",
                "Find what takes the headers Upgrade and Connection away (they are hop-by-hop, and a proxy has to \
                 send them on its own behalf), and HTTP/1.0 towards the server.",
            ),
        ];
    };
    let passes = |what: &str| {
        Fix::new(
            front.name(),
            format!(
                "It passes WebSockets on by itself: look for a rule that takes Upgrade or Connection away ({what}), \
                 and at whatever stands behind it."
            ),
        )
    };
    vec![match front {
        Front::Nginx => nginx_upgrade(target),
        Front::Apache => apache_upgrade(target),
        Front::Haproxy => passes("http-request del-header, set-header Connection"),
        Front::Caddy => passes("header_up -Upgrade, request_header -Upgrade"),
        Front::Traefik => passes("a headers middleware with customRequestHeaders"),
        Front::Longwire => passes("proxy_set_header Upgrade or Connection with another value"),
        Front::Envoy => Fix::new("Envoy", "Allow the upgrade in the HTTP connection manager (or in the route).")
            .lines("upgrade_configs:\n- upgrade_type: websocket"),
        Front::Aws => Fix::new(
            "AWS",
            "An application load balancer passes WebSockets on by itself. CloudFront does with an origin request \
             policy that forwards all headers (AllViewer); a classic load balancer needs TCP listeners; API Gateway \
             needs a WebSocket API, an HTTP or REST API has none.",
        ),
        Front::Cloudflare => Fix::new("Cloudflare", "Network -> WebSockets: On.").lines(
            "curl -X PATCH https://api.cloudflare.com/client/v4/zones/ZONE/settings/websockets \\\n  \
             -H 'Authorization: Bearer TOKEN' --json '{\"value\":\"on\"}'",
        ),
        Front::Varnish => Fix::new("Varnish", "Give WebSockets a pipe, and pass both headers on in it.").lines(
            "sub vcl_recv { if (req.http.upgrade ~ \"(?i)websocket\") { return (pipe); } }\n\
             sub vcl_pipe {\n    if (req.http.upgrade) {\n        set bereq.http.upgrade = req.http.upgrade;\n        \
             set bereq.http.connection = req.http.connection;\n    }\n}",
        ),
        Front::Iis => Fix::new("IIS", "Install the feature \"WebSocket Protocol\", also for Application Request Routing.")
            .lines("Install-WindowsFeature Web-WebSockets"),
        Front::Azure => Fix::new("Azure", "App Service: Configuration -> General settings -> Web sockets: On.")
            .lines("az webapp config set --name APP --resource-group GROUP --web-sockets-enabled true"),
        Front::Google => Fix::new(
            "Google Cloud",
            "Load balancers pass WebSockets on by themselves; App Engine standard does not: use the flexible \
             environment or Cloud Run.",
        ),
    }]
}

fn nginx_upgrade(target: &Target) -> Fix {
    let path = location(target);
    Fix::new(
        "nginx",
        "Write these into the location that answers this path (a location with a proxy_set_header of its own inherits \
         none from outside), the map beside the servers in http; then: nginx -t && nginx -s reload.",
    )
    .lines(&format!(
        "map $http_upgrade $connection_upgrade {{\n    default upgrade;\n    ''      close;\n}}\n\n\
         location {path} {{\n    # proxy_pass as it is\n    proxy_http_version 1.1;\n    \
         proxy_set_header Upgrade $http_upgrade;\n    proxy_set_header Connection $connection_upgrade;\n    \
         proxy_set_header Host $http_host;\n}}"
    ))
}

fn apache_upgrade(target: &Target) -> Fix {
    let path = location(target);
    Fix::new("Apache", "Allow the upgrade where the path is proxied (2.4.47 or newer).")
        .lines(&format!("ProxyPass \"{path}\" \"http://127.0.0.1:3000{path}\" upgrade=websocket"))
}

/// The path of a URL as a configuration may hold it.
fn location(target: &Target) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-~".contains(c);
    let path = target.bare_path();
    if path.chars().all(plain) { path.to_owned() } else { "/".to_owned() }
}

/// What lets the server see the name and port that the browser asked for.
pub(super) fn host(front: Option<Front>) -> Fix {
    match front {
        Some(Front::Apache) => {
            Fix::new("Apache", "Pass the name on that the browser asked for.").lines("ProxyPreserveHost On")
        }
        Some(Front::Caddy) => Fix::new("Caddy", "Pass the name on that the browser asked for.")
            .lines("reverse_proxy 127.0.0.1:3000 {\n    header_up Host {host}:{port}\n}"),
        _ => Fix::new(
            "nginx",
            "Servers compare Origin with Host. Without this line they get the name of proxy_pass as Host, and with \
             $host the port is lost.",
        )
        .lines("proxy_set_header Host $http_host;"),
    }
}

/// What makes a proxy wait longer for the answer to a handshake.
pub(super) fn patience(front: Option<Front>) -> Option<Fix> {
    Some(match front? {
        Front::Nginx | Front::Longwire => Fix::new("nginx", "If the server needs that long, wait longer for it.")
            .lines("proxy_connect_timeout 10s;\nproxy_read_timeout 3600s;"),
        Front::Haproxy => Fix::new("HAProxy", "If the server needs that long, wait longer for it.")
            .lines("timeout server 60s\ntimeout tunnel 1h"),
        Front::Caddy => Fix::new("Caddy", "If the server needs that long, wait longer for it.").lines(
            "reverse_proxy 127.0.0.1:3000 {\n    transport http {\n        response_header_timeout 60s\n    }\n}",
        ),
        Front::Aws => Fix::new("AWS", "If the server needs that long, raise the idle timeout of the load balancer."),
        _ => return None,
    })
}

/// What lets larger heads in.
pub(super) fn large_heads(front: Option<Front>) -> Vec<Fix> {
    let server = match front {
        Some(Front::Haproxy) => {
            Fix::new("HAProxy", "Or allow larger heads.").lines("global\n    tune.bufsize 32768")
        }
        Some(Front::Apache) => {
            Fix::new("Apache", "Or allow larger heads.").lines("LimitRequestFieldSize 32768")
        }
        Some(Front::Nginx | Front::Longwire) => {
            Fix::new("nginx", "Or allow larger heads (in http or server).")
                .lines("large_client_header_buffers 4 32k;")
        }
        _ => Fix::new("the server", "Or allow larger heads (Node: 16 KB unless told otherwise).")
            .lines("node --max-http-header-size=32768 server.js"),
    };
    vec![Fix::new("the site", "Set fewer and smaller cookies: they go with each handshake."), server]
}
