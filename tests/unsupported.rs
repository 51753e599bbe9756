//! `--allow-unsupported`: what Longwire will never have answers 501 where it is needed, and the rest of the file runs.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use support::backend::switching;
use support::conn::get;
use support::frames::{KEY, upgrade_request};
use support::{Backend, Conn, Folder, Longwire, longwire, run};

const CONFIGURATION: &str = r#"
js_import main.js;
js_set $who main.who;
lua_package_path "/x/?.lua;;";
init_by_lua_block {
    -- don't count this: }
    x = "}"
}
map $who $group { default nobody; root admins; }
map $uri $plain { default yes; }
upstream scripted { server 127.0.0.1:1; balancer_by_lua_block { balance() } }
server {
    listen 127.0.0.1:0;
    set_by_lua_block $unused { return 1 }
    log_by_lua_block { count() }
    location / { return 200 $plain; }
    location /fastcgi { fastcgi_pass unix:/run/php.sock; fastcgi_param A b; }
    location /fastcgi/inner { return 200 inner; }
    location /try { try_files /nothing =404; fastcgi_pass unix:/run/php.sock; }
    location /moved { return 301 /elsewhere; fastcgi_pass unix:/run/php.sock; }
    location /filter { sub_filter a b; sub_filter_once off; return 200 a; }
    location /filter/inner { return 200 a; }
    location /lua { access_by_lua_block { ngx.exit(403) } return 200 secret; location /lua/inner { return 200 secret; } }
    location /content { content_by_lua_block { ngx.say("}") } }
    location /if { if ($arg_x) { content_by_lua_block { ngx.say("x") } } root /nowhere; }
    location /who { proxy_set_header X-Who $who; proxy_pass BACKEND; }
    location /group { if ($group = admins) { return 403; } return 200 open; }
    location /late { if ($arg_x) { return 200 before; } set $y $who; return 200 $y; }
    location /header { add_header X-Who $who; return 200; }
    location /scripted { proxy_pass http://scripted; }
    location /page { error_page 501 = @page; grpc_pass grpc://127.0.0.1:1; }
    location @page { return 200 page; }
    location /ws { proxy_pass BACKEND; }
    location /ws/lua { rewrite_by_lua_file x.lua; proxy_pass BACKEND; }
}
server {
    listen 127.0.0.2:0;
    access_by_lua_file waf.lua;
    location / { return 200 secret; }
}
server {
    listen 127.0.0.3:0;
    if ($arg_x) { set $z $who; }
    location / { return 200 open; }
}
"#;

/// The program with this file, and the backend that it passes to.
fn start() -> (Longwire, Backend) {
    let backend = Backend::new();
    let configuration = CONFIGURATION.replace("BACKEND", &format!("http://{}", backend.addr()));
    (Longwire::start_in(Folder::new(), &configuration, &["--allow-unsupported"]), backend)
}

#[test]
fn what_needs_it_answers_501_and_nothing_else_does() {
    let (longwire, _backend) = start();
    for (host, path, status, body) in [
        ("127.0.0.1", "/", 200, Some("yes")),
        ("127.0.0.1", "/fastcgi", 501, None),
        ("127.0.0.1", "/fastcgi/inner", 200, Some("inner")),
        ("127.0.0.1", "/try", 501, None),
        ("127.0.0.1", "/moved", 301, None),
        ("127.0.0.1", "/filter", 501, None),
        ("127.0.0.1", "/filter/inner", 200, Some("a")),
        ("127.0.0.1", "/lua", 501, None),
        ("127.0.0.1", "/lua/inner", 501, None),
        ("127.0.0.1", "/content", 501, None),
        ("127.0.0.1", "/if?x=1", 501, None),
        ("127.0.0.1", "/if", 404, None),
        ("127.0.0.1", "/who", 501, None),
        ("127.0.0.1", "/group", 501, None),
        ("127.0.0.1", "/late", 501, None),
        ("127.0.0.1", "/late?x=1", 200, Some("before")),
        ("127.0.0.1", "/header", 501, None),
        ("127.0.0.1", "/scripted", 501, None),
        ("127.0.0.1", "/page", 200, Some("page")),
        ("127.0.0.2", "/", 501, None),
        ("127.0.0.3", "/", 200, Some("open")),
        ("127.0.0.3", "/?x=1", 501, None),
    ] {
        let (head, text) = get(longwire.addr_on(host), path);
        assert_eq!(head.status(), status, "{host}{path}");
        assert!(body.is_none_or(|body| body == text), "{host}{path}: {text}");
    }
    longwire.wait_log(&["[error]", "\"fastcgi_pass\" in ", "longwire.conf:17 is not supported", "501"]);
    longwire.wait_log(&["[error]", "\"$who\" in ", "longwire.conf:26", "js_set"]);
}

#[test]
fn a_handshake_is_told_why_and_others_pass() {
    let (longwire, backend) = start();
    let mut conn = Conn::connect(longwire.addr_on("127.0.0.1"));
    conn.send(upgrade_request("/ws/lua", ""));
    assert_eq!(conn.read_head().status(), 501);
    let line = longwire.wait_log(&["WebSocket handshake failed", "fault of the configuration"]);
    assert!(line.contains("\"rewrite_by_lua_file\" in ") && line.contains("longwire.conf:34"), "{line}");

    let mut conn = Conn::connect(longwire.addr_on("127.0.0.1"));
    conn.send(upgrade_request("/ws", ""));
    let mut server = backend.accept();
    server.read_head();
    server.send(switching(KEY, ""));
    conn.expect_tunnel();
}

#[test]
fn the_start_names_line_and_reason() {
    let folder = Folder::new();
    let text = "http { server { listen 127.0.0.1:0;\n\n location / { fastcgi_pass 127.0.0.1:9000; }\n} }\nstream { }\n";
    let file = folder.write("longwire.conf", text);
    let check =
        |flags: &[&str]| run(longwire().args(flags).arg("-c").arg(&file).arg("-p").arg(folder.path()));
    let (status, _, said) = check(&["-t"]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("error: \"fastcgi_pass\": Longwire does not speak FastCGI"), "{said}");
    let (status, _, said) = check(&["-t", "--allow-unsupported"]);
    assert_eq!(status, Some(0), "{said}");
    for part in [
        "warning: \"fastcgi_pass\" is left out: Longwire does not speak FastCGI",
        "longwire.conf:3:15",
        "warning: \"stream\" is left out: Longwire carries HTTP and WebSocket only",
        "longwire.conf:5:1",
    ] {
        assert!(said.contains(part), "{part:?} expected\n{said}");
    }
    // A name that nobody has stays a mistake.
    folder.write("longwire.conf", "server { listen 127.0.0.1:0; proxy_pas x; }");
    let (status, _, said) = check(&["-t", "--allow-unsupported"]);
    assert!(status == Some(1) && said.contains("unknown directive \"proxy_pas\""), "{said}");
}
