//! The access log and the error log: nginx's formats, and what a tunnel adds to them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use nix::sys::signal::Signal;
use support::conn::get;
use support::{Backend, Conn, Longwire, close, until};

/// A server with an access log in its folder.
fn logging(directives: &str, location: &str) -> String {
    format!(
        "{directives}\nserver {{ listen 127.0.0.1:0; server_name a.test; location / {{ {location} }} }}\n"
    )
}

/// The access log once it has this many lines.
fn access_log(longwire: &Longwire, lines: usize) -> Vec<String> {
    until("the access log is written", || longwire.folder().read("access.log").lines().count() >= lines);
    longwire.folder().read("access.log").lines().map(str::to_string).collect()
}

#[test]
fn the_access_log_is_combined_by_default() {
    let longwire = Longwire::start(&logging("access_log DIR/access.log;", "return 200 hello;"));
    let mut client = Conn::connect(longwire.addr());
    client.ask(
        "GET /a?b HTTP/1.1\r\nHost: a.test\r\nUser-Agent: tester \"1\"\r\nReferer: http://r.test/\r\nConnection: close\r\n\r\n",
    );
    let line = access_log(&longwire, 1).remove(0);
    let (before, after) = line.split_once('[').unwrap();
    assert_eq!(before, "127.0.0.1 - - ");
    let (time, after) = after.split_once(']').unwrap();
    // 23/Nov/2026:04:27:15 +0000
    assert_eq!((time.len(), &time[2..3], &time[6..7], &time[20..21]), (26, "/", "/", " "), "{time}");
    assert_eq!(after, " \"GET /a?b HTTP/1.1\" 200 5 \"http://r.test/\" \"tester \\x221\\x22\"");
}

#[test]
fn a_format_of_ones_own_is_followed() {
    let format = "log_format own '$remote_addr $request_method $uri $args $status $body_bytes_sent $host \
        $http_x_own|$sent_http_x_sent|$upstream_addr|$upstream_status|$scheme|$server_protocol';\n\
        log_format j escape=json '{\"agent\":\"$http_user_agent\"}';\n\
        access_log DIR/access.log own; access_log DIR/json.log j;";
    let backend =
        Backend::http(|_, _| "HTTP/1.1 201 Created\r\nX-Sent: s\r\nContent-Length: 3\r\n\r\nabc".into());
    let longwire = Longwire::start(&logging(format, &format!("proxy_pass http://{backend};")));
    let mut client = Conn::connect(longwire.addr());
    client.ask("GET /p?q=1 HTTP/1.1\r\nHost: A.test\r\nX-Own: o\r\nUser-Agent: a\"b\\c\tü\r\n\r\n");
    let line = access_log(&longwire, 1).remove(0);
    assert_eq!(line, format!("127.0.0.1 GET /p q=1 201 3 a.test o|s|{backend}|201|http|HTTP/1.1"));
    until("the second log is written", || !longwire.folder().read("json.log").is_empty());
    assert_eq!(longwire.folder().read("json.log"), "{\"agent\":\"a\\\"b\\\\c\\tü\"}\n");
}

/// A tunnel's line is written when it has ended, with what it was.
#[test]
fn a_tunnel_has_a_line_when_it_ends() {
    let format = "log_format own '$status $request $websocket_close_code $websocket_ended_by \
        $websocket_messages_received/$websocket_messages_sent $websocket_duration';\n\
        access_log DIR/access.log own;";
    let backend = Backend::new();
    let longwire = Longwire::start(&logging(format, &format!("proxy_pass http://{};", backend.addr())));
    let mut client = Conn::knock(longwire.addr(), "");
    let (mut server, _) = backend.tunnel();
    client.expect_tunnel();
    for _ in 0..3 {
        client.send_text("up");
        server.read_frame();
    }
    server.send_text("down");
    client.read_frame();
    assert_eq!(longwire.folder().read("access.log"), "", "nothing before the end");
    server.send_frame(&close(1000, "done"));
    client.expect_close(1000);
    let line = access_log(&longwire, 1).remove(0);
    let (fixed, duration) = line.rsplit_once(' ').unwrap();
    assert_eq!(fixed, "101 GET / HTTP/1.1 1000 backend 3/1");
    assert!(duration.split_once('.').is_some_and(|(_, ms)| ms.len() == 3), "{duration}");

    // Pings that were answered have a round trip.
    let ended = longwire.wait_log(&["tunnel ended"]);
    assert!(ended.contains("1000") && ended.contains("backend"), "{ended}");
}

/// What is kept of a request tells at the end of its tunnel what was known at the beginning.
#[test]
fn the_lines_of_a_tunnel_s_end_know_its_request() {
    for (pass, upstream) in [("", "/a?b=c"), ("/other/", "/other/a?b=c")] {
        let backend = Backend::new();
        let conf = "access_log DIR/access.log; access_log DIR/some.log combined if=$arg_none; \
                    log_format own '$http_host $remote_user $arg_b $upstream_addr'; access_log DIR/own.log own;";
        let longwire =
            Longwire::start(&logging(conf, &format!("proxy_pass http://{}{pass};", backend.addr())));
        let mut client = Conn::connect(longwire.addr());
        client.send(
            "GET /a?b=c HTTP/1.1\r\nHost: a.test\r\nUser-Agent: \"1\"\r\nReferer: http://r.test/\r\n\
             Authorization: Basic dXNlcjpw\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        );
        let (mut server, _) = backend.tunnel();
        client.expect_tunnel();
        server.send_frame(&close(1000, "done"));
        client.expect_close(1000);
        drop((client, server));
        let line = access_log(&longwire, 1).remove(0);
        assert!(line.starts_with("127.0.0.1 - user ["), "{line}");
        assert!(
            line.ends_with(" \"GET /a?b=c HTTP/1.1\" 101 8 \"http://r.test/\" \"\\x221\\x22\""),
            "{line}"
        );
        until("the other log is written", || !longwire.folder().read("own.log").is_empty());
        let own = longwire.folder().read("own.log");
        assert_eq!(own, format!("a.test user c {}\n", backend.addr()));
        assert_eq!(longwire.folder().read("some.log"), "", "the condition did not hold");
        let context = |line: String| line[line.find(", client: ").unwrap()..].to_owned();
        let opened = context(longwire.wait_log(&["tunnel opened"]));
        assert!(opened.contains(&format!("upstream: \"http://{}{upstream}\"", backend.addr())), "{opened}");
        assert!(opened.ends_with("host: \"a.test\", referrer: \"http://r.test/\""), "{opened}");
        assert_eq!(context(longwire.wait_log(&["tunnel ended"])), opened);
    }
}

#[test]
fn off_and_conditions_are_followed() {
    let conf = "map $status $bad { ~^[45] 1; default 0; }
        access_log DIR/access.log combined if=$bad;
        server { listen 127.0.0.1:0; return 200 fine;  }
        server { listen 127.0.0.2:0; location / { return 404; } location /off { access_log off; return 404; } }";
    let longwire = Longwire::start(conf);
    get(longwire.addr_on("127.0.0.1"), "/good");
    get(longwire.addr_on("127.0.0.2"), "/off");
    get(longwire.addr_on("127.0.0.2"), "/bad");
    let lines = access_log(&longwire, 1);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("/bad"), "{lines:?}");
}

/// `2026/11/23 04:27:15 [error] 1234#1234: *5 ..., client: ..., server: ..., request: "...", host: "..."`
#[test]
fn the_error_log_has_the_format_of_nginx() {
    let conf = logging("", &format!("proxy_pass http://{};", support::backend::nobody()));
    let longwire = Longwire::start(&conf);
    get(longwire.addr(), "/x?y");
    let line = longwire.wait_log(&["[error]"]);
    let (time, rest) = line.split_at(19);
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    assert_eq!(shape, "9999/99/99 99:99:99");
    let rest = rest.strip_prefix(" [error] ").unwrap();
    assert!(rest.starts_with(&format!("{}#", longwire.pid())), "{line}");
    assert!(rest.contains(": *"), "the connection's number: {line}");
    for part in [
        ", client: 127.0.0.1",
        ", server: a.test",
        ", request: \"GET /x?y HTTP/1.1\"",
        ", upstream: \"http://",
        ", host: \"example.com\"",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

#[test]
fn error_logs_go_where_they_are_sent_at_their_level() {
    let conf = format!(
        "error_log DIR/warn.log warn;\nerror_log stderr notice;\nevents {{}}\nhttp {{ {} }}",
        logging("", &format!("proxy_pass http://{};", support::backend::nobody()))
    );
    let longwire = Longwire::start(&conf);
    get(longwire.addr(), "/");
    until("the error is in the file", || longwire.folder().read("warn.log").contains("[error]"));
    let file = longwire.folder().read("warn.log");
    assert!(!file.contains("[notice]"), "{file}");
    longwire.wait_log(&["[notice]", "listening on"]);
    longwire.wait_log(&["[error]"]);
}

/// What a client sends cannot break a line of a log in two, or speak to a terminal.
#[test]
fn nothing_a_client_sends_forges_a_line() {
    let conf =
        logging("access_log DIR/access.log;", &format!("proxy_pass http://{};", support::backend::nobody()));
    let longwire = Longwire::start(&conf);
    let mut client = Conn::connect(longwire.addr());
    client.ask(
        "GET /\u{e9}%0a%1b HTTP/1.1\r\nHost: a.test\r\nUser-Agent: \u{9b}31m\"x\r\nConnection: close\r\n\r\n",
    );
    let lines = access_log(&longwire, 1);
    assert_eq!(lines.len(), 1);
    assert!(lines[0].is_ascii() && !lines[0].contains('\u{1b}'), "{lines:?}");
    let errors = longwire.wait_log(&["[error]"]);
    assert!(!errors.chars().any(char::is_control), "{errors:?}");
}

/// After the files were moved away, the signal makes new ones: what logrotate needs.
#[test]
fn logs_are_reopened() {
    let longwire = Longwire::start(&logging("access_log DIR/access.log;", "return 200 ok;"));
    get(longwire.addr(), "/first");
    access_log(&longwire, 1);
    let file = longwire.folder().path().join("access.log");
    std::fs::rename(&file, longwire.folder().path().join("access.log.1")).unwrap();
    longwire.signal(Signal::SIGUSR1);
    until("the file is there again", || file.exists());
    get(longwire.addr(), "/second");
    let lines = access_log(&longwire, 1);
    assert!(lines[0].contains("/second"), "{lines:?}");
    assert!(longwire.folder().read("access.log.1").contains("/first"));
}

/// Lines of a log of JSON.
fn objects(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// One setting makes objects of all lines, and one id joins those of a request from handshake to end.
#[test]
fn with_log_json_every_line_is_an_object() {
    let conf = "log_json on; error_log DIR/error.log info; access_log DIR/access.log; access_log DIR/own.log combined;";
    let backend = Backend::new();
    let pass = format!("proxy_pass http://{}; proxy_set_header X-Request-ID $request_id;", backend.addr());
    let longwire = Longwire::start(&logging(conf, &pass));
    let mut client = Conn::knock(longwire.addr(), "User-Agent: a\"b\\c\tü\r\nReferer: \"r\"\r\n");
    let (mut server, head) = backend.tunnel();
    client.expect_tunnel();
    client.send_text("up");
    server.read_frame();
    server.send_frame(&close(1000, "done"));
    client.expect_close(1000);
    drop((client, server));
    let line = access_log(&longwire, 1).remove(0);
    let access = &objects(&line)[0];
    let id = access["request_id"].as_str().unwrap();
    assert_eq!((id.len(), head.get("x-request-id")), (32, id));
    assert_eq!((&access["status"], &access["uri"]), (&101.into(), &"/".into()));
    assert_eq!((&access["server"], &access["user_agent"]), (&"a.test".into(), &"a\"b\\c\tü".into()));
    let tunnel = &access["tunnel"];
    assert_eq!((&tunnel["close_code"], &tunnel["ended_by"]), (&"1000".into(), &"backend".into()));
    assert_eq!((&tunnel["messages_received"], &tunnel["messages_sent"]), (&"1".into(), &"0".into()));
    until("both lines are there", || longwire.folder().read("error.log").contains("tunnel ended"));
    let errors = objects(&longwire.folder().read("error.log"));
    for said in ["tunnel opened", "tunnel ended"] {
        let line = errors.iter().find(|line| line["message"].as_str().unwrap().starts_with(said)).unwrap();
        assert_eq!(line["request_id"], id, "{line}");
        assert_eq!((&line["level"], &line["request"]), (&"notice".into(), &"GET / HTTP/1.1".into()));
        assert_eq!((&line["connection"], &line["client"]), (&access["connection"], &"127.0.0.1".into()));
        assert_eq!(line["referrer"], "\"r\"");
    }
    let started = objects(&longwire.log());
    assert!(started.iter().all(|line| line.get("client").is_none()) && !started.is_empty(), "{started:?}");
    until("the other access log is written", || !longwire.folder().read("own.log").is_empty());
    let own = longwire.folder().read("own.log");
    assert!(own.starts_with("127.0.0.1 - - ["), "who names a format has that one: {own}");
}

/// Datagrams as nginx sends them, over UDP and to a Unix socket.
#[test]
fn a_syslog_server_gets_each_line_as_a_datagram() {
    let folder = support::Folder::new();
    let unix = std::os::unix::net::UnixDatagram::bind(folder.path().join("log")).unwrap();
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    unix.set_read_timeout(Some(support::WAIT)).unwrap();
    udp.set_read_timeout(Some(support::WAIT)).unwrap();
    let conf = format!(
        "error_log syslog:server=unix:DIR/log,facility=daemon,tag=edge,nohostname info; \
         access_log syslog:server={},severity=debug combined;",
        udp.local_addr().unwrap()
    );
    let pass = format!("proxy_pass http://{};", support::backend::nobody());
    let longwire = Longwire::start_in(folder, &logging(&conf, &pass), &[]);
    let receive = |size: usize, buf: &[u8]| String::from_utf8(buf[..size].to_vec()).unwrap();
    let mut buf = [0; 4096];
    let mut client = Conn::connect(longwire.addr());
    client.ask("GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let size = unix.recv(&mut buf).unwrap();
    let line = receive(size, &buf);
    // daemon is 3, error is 3.
    let rest = line.strip_prefix("<27>").unwrap_or_else(|| panic!("{line}"));
    let date = regex::Regex::new(
        r"^[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d edge: \d{4}/\d\d/\d\d .* \[error\] .*connect\(\) failed",
    )
    .unwrap();
    assert!(date.is_match(rest) && !rest.ends_with('\n'), "{line}");
    let size = udp.recv(&mut buf).unwrap();
    let line = receive(size, &buf);
    // local7 is 23, debug is 7.
    let form = regex::Regex::new(r#"^<191>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \S+ longwire: 127\.0\.0\.1 - - \[.*\] "GET /a HTTP/1.1" 502 "#).unwrap();
    assert!(form.is_match(&line), "{line}");
    // Nobody waits for a server that is gone, and one that was started anew is found.
    let path = longwire.folder().path().join("log");
    drop(unix);
    std::fs::remove_file(&path).unwrap();
    client.ask("GET /b HTTP/1.1\r\nHost: a.test\r\n\r\n");
    longwire.wait_log(&["[alert]", "1 lines of logs were lost"]);
    let unix = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    unix.set_read_timeout(Some(support::WAIT)).unwrap();
    client.ask("GET /c HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let size = unix.recv(&mut buf).unwrap();
    assert!(receive(size, &buf).contains("GET /c "), "{}", receive(size, &buf));
}

#[test]
fn a_mistake_in_a_syslog_server_is_named() {
    for (text, told) in [
        ("access_log syslog:server=127.0.0.1,tag=a-b;", "only allows alphanumeric characters and underscore"),
        ("error_log syslog:server=127.0.0.1,facility=nobody;", "unknown syslog facility \"nobody\""),
        ("error_log syslog:tag=a;", "no syslog server specified"),
    ] {
        let (good, said) = support::check(&logging(text, "return 200;"));
        assert!(!good && said.contains(told) && said.contains(".conf:"), "{said}");
    }
}
