//! The rewrite module, `try_files` and `auth_request`: what is answered is what nginx answers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use support::frames::upgrade_request;
use support::{Backend, Conn, Folder, Longwire};

/// A backend that says what it was asked for.
fn echo() -> std::net::SocketAddr {
    Backend::http(|head, body| {
        let status = match head.get("x-auth") {
            "" => "200 OK",
            status if head.target().starts_with("/auth") => status,
            _ => "200 OK",
        };
        let body = format!("{} {}", head.start, String::from_utf8_lossy(body));
        let body = body.replace(" HTTP/1.1", "");
        let asks = if status.starts_with("401") { "WWW-Authenticate: Basic realm=\"r\"\r\n" } else { "" };
        format!(
            "HTTP/1.1 {status}\r\nX-Who: {}\r\n{asks}Content-Length: {}\r\n\r\n{body}",
            head.get("x-original-uri"),
            body.len()
        )
    })
}

/// Runs a server with these directives; `BACKEND` is a backend that says what it was asked for.
fn run(directives: &str) -> Longwire {
    let folder = Folder::new();
    std::fs::create_dir_all(folder.path().join("html/dir")).unwrap();
    folder.write("html/file.txt", "0123456789");
    folder.write("html/dir/index.html", "index");
    let text = format!("server {{ listen 127.0.0.1:0; absolute_redirect off; {directives} }}");
    Longwire::start_in(folder, &text.replace("BACKEND", &format!("http://{}", echo())), &[])
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// Status, and the `Location` or the body.
fn ask(longwire: &Longwire, request: &str) -> String {
    let (head, body) = Conn::connect(longwire.addr()).ask(request);
    let shown = if head.has("location") { head.get("location") } else { body.trim() };
    // Built-in pages are told by their status.
    let shown = if shown.starts_with("<html>") { "page" } else { shown };
    format!("{} {shown}", head.status())
}

fn check(longwire: &Longwire, table: &[(&str, &str)]) {
    for (target, expected) in table {
        assert_eq!(ask(longwire, &get(target)), *expected, "{target}");
    }
}

#[test]
fn rules_are_done_in_order() {
    let longwire = run(r#"
        set $v "server $arg_a";
        if ($arg_a ~ ^r(?<rest>.*)) { set $v "$1-$rest"; }
        rewrite ^/old/(.*)$ /say/$1;
        rewrite ^/kept/(.*)$ /part/$1 break;
        location /say/ { set $w "$v|$never"; set $v other; return 200 "$w|$v $uri $args"; }
        location /never/ { if ($arg_x) { set $never x; } return 200 "[$never]"; }
        location /part/ { proxy_pass BACKEND/p/; }
        location /plain/ { proxy_pass BACKEND; }
        location /args/ { set $args new=1; proxy_pass BACKEND; }
        location /if/ {
            set $r "";
            if ($arg_a) { set $r "${r}t"; }
            if ($arg_a = "5") { set $r "${r}="; }
            if ($arg_a != 5) { set $r "${r}!="; }
            if ($arg_a ~ B+(c)?) { set $r "${r}~$1"; }
            if ($arg_a ~* B+(c)?) { set $r "${r}~*$1"; }
            if ($arg_a !~ z) { set $r "${r}!~"; }
            return 200 "$r[$1]";
        }
        location /file/ {
            set $r "";
            if (-f $document_root/file.txt) { set $r "${r}f"; }
            if (!-f $document_root/dir) { set $r "${r}!f"; }
            if (-d $document_root/dir) { set $r "${r}d"; }
            if (!-e $document_root/none) { set $r "${r}!e"; }
            if (-x $document_root/file.txt) { set $r "${r}x"; }
            return 200 $r;
        }
        location /rw/ {
            rewrite ^/rw/last/(.*)$ /say/$1?k=$1 last;
            rewrite ^/rw/none/(.*)$ /say/$1? last;
            rewrite ^/rw/two/(.*)$ /rw/more/$1;
            rewrite ^/rw/more/(.*)$ /say/more/$1;
            rewrite ^/rw/redirect/(.*)$ /to/$1 redirect;
            rewrite ^/rw/permanent/(.*)$ /to/$1? permanent;
            rewrite ^/rw/full/(.*)$ http://other.test/?u=$1;
            rewrite ^/rw/empty/ $arg_none break;
            rewrite ^/rw/break/(.*)$ /changed/$1 break;
            proxy_pass BACKEND/part/;
        }
        location /cycle/ { rewrite ^/cycle/(.*)$ /cycle/x$1 last; }
        location /ret/ { if ($arg_c = 1) { return 301 /x; } if ($arg_c = 2) { return 404 own; } return 403; }
        "#);
    check(
        &longwire,
        &[
            ("/old/x?a=1", "200 server 1||other /say/x a=1"),
            ("/say/x?a=rest", "200 est-est||other /say/x a=rest"),
            ("/never/?x=1", "200 [x]"),
            ("/never/", "200 []"),
            ("/kept/x?y", "200 GET /part/x?y"),
            ("/part/a%20b?y", "200 GET /p/a%20b?y"),
            ("/plain/a%20b?y", "200 GET /plain/a%20b?y"),
            ("/args/a%20b?y", "200 GET /args/a%20b?new=1"),
            ("/if/?a=", "200 !=!~[]"),
            ("/if/?a=0", "200 !=!~[]"),
            ("/if/?a=5", "200 t=!~[]"),
            ("/if/?a=xBBc", "200 t!=~c~*c!~[]"),
            ("/if/?a=bc", "200 t!=~*c!~[]"),
            ("/if/?a=z", "200 t!=[]"),
            ("/file/", "200 f!fd!e"),
            ("/rw/last/x?o=1", "200 server ||other /say/x k=x&o=1"),
            ("/rw/none/x?o=1", "200 server ||other /say/x"),
            ("/rw/two/x?o=1", "200 server ||other /say/more/x o=1"),
            ("/rw/redirect/a%20b?o=1", "302 /to/a%20b?o=1"),
            ("/rw/redirect/a+b", "302 /to/a+b"),
            ("/rw/permanent/x?o=1", "301 /to/x"),
            ("/rw/full/x?o=1", "302 http://other.test/?u=x&o=1"),
            ("/rw/empty/x", "500 page"),
            ("/rw/break/a%20b?o", "200 GET /changed/a%20b?o"),
            ("/rw/other", "200 GET /part/other"),
            ("/cycle/1", "500 page"),
            ("/ret/?c=1", "301 /x"),
            ("/ret/?c=2", "404 own"),
            ("/ret/", "403 page"),
        ],
    );
    longwire.wait_log(&["[warn]", "using uninitialized \"never\" variable"]);
    longwire.wait_log(&["rewrite or internal redirection cycle while processing \"/cycle/x"]);
}

#[test]
fn an_if_is_a_place_of_its_own() {
    let longwire = run(r#"
        location / {
            add_header X-Out out;
            error_page 404 /none;
            if ($arg_p = a) { proxy_pass BACKEND; }
            if ($arg_p = b) { add_header X-In in; }
            if ($arg_p ~ .) { set $seen yes; }
            proxy_pass BACKEND/outer/;
        }
        location /two/ { set $t 1; if ($t) { add_header X-First 1; } if ($t) { add_header X-Second 2; } return 204; }
        location /try/ { try_files /file.txt =404; if ($arg_x) { set $y 1; } }
        "#);
    let headers = |target: &str| {
        let (head, body) = Conn::connect(longwire.addr()).ask(&get(target));
        let names = ["x-out", "x-in", "x-first", "x-second"];
        let had: Vec<&str> = names.into_iter().filter(|name| head.has(name)).collect();
        format!(
            "{} {} {}",
            head.status(),
            had.join(","),
            if body.starts_with('<') { "" } else { body.trim() }
        )
    };
    let table = [
        ("/?p=a", "200 x-out GET /outer/?p=a"),
        ("/?p=b", "200 x-out GET /outer/?p=b"),
        ("/?p", "200 x-out GET /outer/?p"),
        ("/two/", "204 x-second "),
        ("/try/", "200  0123456789"),
        ("/try/?x=1", "404  "),
    ];
    for (target, expected) in table {
        assert_eq!(headers(target), expected, "{target}");
    }
}

#[test]
fn files_are_tried_before_anything_else_answers() {
    let longwire = run(r#"
        location / { try_files $uri $uri/ /fallback?u=$uri; }
        location /code/ { try_files $uri =418; }
        location /named/ { try_files /nope @backend; }
        location /changed/ { try_files /nope @rewriting; }
        location /missing/ { try_files /nope @nowhere; }
        location /self/ { try_files $uri /self/; }
        location = /fallback { return 200 "fallback $args"; }
        location @backend { proxy_pass BACKEND; }
        location @rewriting { rewrite ^/changed/(.*)$ /named/$1 last; }
        "#);
    check(
        &longwire,
        &[
            ("/file.txt", "200 0123456789"),
            ("/dir/", "200 index"),
            ("/dir", "301 /dir/"),
            ("/none?x", "200 fallback u=/none"),
            ("/code/x", "418 "),
            ("/named/a%20b?x", "200 GET /named/a%20b?x"),
            ("/changed/a%20b?x", "200 GET /named/a%20b?x"),
            ("/missing/", "500 page"),
            ("/self/x", "500 page"),
        ],
    );
    let post = "POST /named/x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
    assert_eq!(ask(&longwire, post), "200 POST /named/x body");
    longwire.wait_log(&["could not find named location \"@nowhere\""]);
}

#[test]
fn another_location_says_who_may() {
    let longwire = run(r#"
        error_page 401 = @login;
        location / { auth_request /auth; auth_request_set $who $upstream_http_x_who; add_header X-Seen $who always; proxy_pass BACKEND; }
        location /own/ { auth_request /auth; error_page 402 /x; proxy_pass BACKEND; }
        location /open/ { auth_request off; proxy_pass BACKEND; }
        location = /auth { internal; proxy_pass BACKEND/auth; proxy_set_header X-Original-URI $request_uri; }
        location @login { return 302 /login?to=$request_uri; }
        "#);
    let request =
        |target: &str, status: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\nX-Auth: {status}\r\n\r\n");
    let table = [
        ("/x?y", "200 OK", "200 GET /x?y"),
        ("/x", "204 No", "200 GET /x"),
        ("/x?y", "401 No", "302 /login?to=/x?y"),
        ("/own/", "401 No", "401 page"),
        ("/x", "403 No", "403 page"),
        ("/x", "404 No", "500 page"),
        ("/x", "302 No", "500 page"),
        ("/open/", "403 No", "200 GET /open/"),
        ("/auth", "200 OK", "404 page"),
    ];
    for (target, status, expected) in table {
        assert_eq!(ask(&longwire, &request(target, status)), expected, "{target} {status}");
    }
    let (head, _) = Conn::connect(longwire.addr()).ask(&request("/x?y", "200 OK"));
    assert_eq!(head.get("x-seen"), "/x?y");
    let (head, _) = Conn::connect(longwire.addr()).ask(&request("/own/", "401 No"));
    assert_eq!(head.get("www-authenticate"), "Basic realm=\"r\"");
    // A body goes to where it was sent, not to the one who is asked first.
    let post = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
    assert_eq!(ask(&longwire, post), "200 POST /x body");
    longwire.wait_log(&["auth request unexpected status: 404"]);
}

#[test]
fn other_methods_have_a_place_of_their_own() {
    let longwire = run("location / { limit_except GET { proxy_pass BACKEND; } return 200 $request_method; }");
    assert_eq!(ask(&longwire, &get("/")), "200 GET");
    assert_eq!(ask(&longwire, "DELETE /x HTTP/1.1\r\nHost: a\r\n\r\n"), "200 DELETE /x");
}

/// A WebSocket comes through all of it, and where it does not, one line says which directive answered.
#[test]
fn a_handshake_goes_the_same_way() {
    let backend = Backend::new();
    let folder = Folder::new();
    let text = r#"server { listen 127.0.0.1:0;
        set $target http://BACKEND;
        location /try/ { try_files /dev/null @ws; }
        location @ws { proxy_pass $target; }
        location /if/ { if ($http_upgrade = websocket) { proxy_pass http://BACKEND; } return 404; }
        location /rw/ { rewrite ^/rw/(.*)$ /ws/$1 break; proxy_pass $target; }
        location /auth/ { auth_request /asked; proxy_pass http://BACKEND; }
        location = /asked { if ($http_upgrade = "") { return 500; } if ($http_x_no) { return 403; } return 204; }
        location /no/ { if ($http_upgrade) { return 403; } proxy_pass $target; }
        location /moved/ { rewrite ^ /x redirect; }
        location /none/ { }
        location /code/ { try_files /nope =404; }
        }"#;
    let longwire = Longwire::start_in(folder, &text.replace("BACKEND", &backend.addr().to_string()), &[]);
    let passing = [("/try/a?b", "/try/a?b"), ("/rw/a%20b?c", "/ws/a%20b?c"), ("/auth/x", "/auth/x")];
    for (target, expected) in passing {
        let mut client = Conn::connect(longwire.addr());
        client.send(upgrade_request(target, ""));
        let (mut server, head) = backend.tunnel();
        client.expect_tunnel();
        assert_eq!(head.target(), expected);
        server.send_text(target);
        assert_eq!(client.read_frame().text(), target);
    }
    let failing = [
        ("/no/", "", 403, vec!["\"return 403\" in", "longwire.conf:9, by the \"if\" in", "longwire.conf:9"]),
        ("/if/", "", 404, vec!["\"return 404\" in", "longwire.conf:5 answers"]),
        ("/auth/", "X-No: 1\r\n", 403, vec!["auth_request \"/asked\" in", ":7 was answered 403"]),
        ("/moved/", "", 302, vec!["\"rewrite\" in", "longwire.conf:10 answered 302"]),
        ("/none/x", "", 404, vec!["no location with a proxy_pass matches \"/none/x\", client"]),
        ("/code/", "", 404, vec!["\"try_files\" in", "longwire.conf:12 found no file and answers 404"]),
    ];
    for (target, more, status, words) in failing {
        let mut client = Conn::connect(longwire.addr());
        client.send(upgrade_request(target, more));
        assert_eq!(client.read_head().status(), status, "{target}");
        let mut parts = vec!["WebSocket handshake failed, fault of the"];
        parts.extend(words);
        longwire.wait_log(&parts);
    }
}
