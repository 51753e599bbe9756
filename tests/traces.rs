//! Traces: what a collector gets of handshakes and requests, what backends are told, and what becomes of it all when the
//! collector is away.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

// By itself, as no other test needs it: it takes the program's own messages apart.
#[path = "support/collector.rs"]
mod collector;
mod support;

use std::net::SocketAddr;
use std::time::Instant;

use collector::{Collector, Manner, attribute};
use longwire::trace::otlp::{ERROR, Kind, Span};
use nix::sys::signal::Signal;
use support::backend::nobody;
use support::conn::get;
use support::lineage::Lineage;
use support::tls::Identity;
use support::{Backend, Conn, Folder, Longwire, WAIT, admin, between, check, close, frames, until};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A server whose spans go to this endpoint soon.
fn traced(endpoint: impl std::fmt::Display, http: &str, location: &str) -> String {
    format!(
        "otel_exporter {{ endpoint {endpoint}; interval 20ms; }}\n{http}\n\
         server {{ listen 127.0.0.1:0; server_name a.test; location /ws/ {{ {location} }} }}\n"
    )
}

/// A backend that says what it was told of the trace.
fn telling() -> SocketAddr {
    Backend::http(|head, _| {
        let told = format!("{}|{}", head.get("traceparent"), head.get("tracestate"));
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{told}", told.len())
    })
}

/// What the backend says, and what it was told when the request had these header lines.
fn told(addr: SocketAddr, lines: &str) -> String {
    let request = format!("GET /ws/ HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n{lines}\r\n");
    Conn::connect(addr).ask(&request).1
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn of(span: &Span, name: &str) -> String {
    attribute(&span.attributes, name)
}

/// A server that counts, and answers by itself; its spans go to this endpoint.
fn counting(endpoint: impl std::fmt::Display) -> String {
    format!("admin {};\n{}", admin::LISTEN, traced(endpoint, "otel_trace on;", "return 200 here;"))
}

/// How many spans had this outcome.
fn count(longwire: &Longwire, outcome: &str) -> u64 {
    let (_, text) = admin::ask(admin::of(longwire), "GET", "/metrics", "", None);
    let name = format!("longwire_spans_total{{outcome=\"{outcome}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or(0)
}

fn kinds(spans: Vec<Span>) -> (Span, Vec<Span>) {
    let (mut servers, clients): (Vec<_>, Vec<_>) =
        spans.into_iter().partition(|span| span.kind == i32::from(Kind::Server));
    assert_eq!(servers.len(), 1, "{servers:#?}");
    (servers.remove(0), clients)
}

#[test]
fn a_handshake_is_told_while_its_tunnel_is_open() {
    let collector = Collector::grpc();
    let (backend, away) = (Backend::new(), nobody());
    let group = format!("upstream app {{ server {away}; server {}; }}", backend.addr());
    let more = format!(
        "{group} otel_trace on; otel_trace_context propagate; otel_service_name gate; otel_resource_attr zone b;\n\
         log_format own '$otel_trace_id $otel_span_id $otel_parent_id $otel_parent_sampled'; access_log DIR/access.log own;"
    );
    let location =
        "proxy_pass http://app; proxy_set_header X-Trace $otel_trace_id; otel_span_attr my.host $host;";
    let longwire = Longwire::start(&traced(collector.addr, &more, location));
    let mut client = Conn::connect(longwire.addr());
    client
        .send(frames::upgrade_request("/ws/?a=b", &format!("traceparent: {PARENT}\r\ntracestate: x=y\r\n")));
    let (mut server, head) = backend.tunnel();
    client.expect_tunnel();
    let (own, tries) = kinds(collector.expect(3));
    // It goes on with the trace of the request.
    let trace = &PARENT[3..35];
    assert_eq!((hex(&own.trace_id).as_str(), hex(&own.parent_span_id).as_str()), (trace, &PARENT[36..52]));
    assert_eq!((own.name.as_str(), own.trace_state.as_str(), &own.status), ("/ws/", "x=y", &None));
    for (name, value) in [
        ("http.method", "GET"),
        ("http.target", "/ws/?a=b"),
        ("http.route", "/ws/"),
        ("http.scheme", "http"),
        ("http.flavor", "1.1"),
        ("http.status_code", "101"),
        ("net.host.name", "a.test"),
        ("net.sock.peer.addr", "127.0.0.1"),
        ("longwire.websocket", "true"),
        ("my.host", "example.com"),
    ] {
        assert_eq!(of(&own, name), value, "{name}");
    }
    assert_eq!(of(&own, "net.host.port"), longwire.addr().port().to_string());
    // The number that stands in the log.
    longwire.wait_log(&[&format!("*{} tunnel opened", of(&own, "longwire.connection"))]);
    // One try came to nothing, the other is what the backend is told it is a part of.
    let [refused, opened] = tries.as_slice() else { panic!("{tries:#?}") };
    for span in [refused, opened] {
        assert_eq!((hex(&span.trace_id).as_str(), &span.parent_span_id), (trace, &own.span_id));
        assert_eq!((of(span, "longwire.upstream").as_str(), span.kind), ("app", 3));
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
        assert!(own.start_time_unix_nano <= span.start_time_unix_nano);
        assert!(span.end_time_unix_nano <= own.end_time_unix_nano);
    }
    let status = refused.status.as_ref().unwrap();
    assert!(status.code == ERROR && status.message.contains("Connection refused"), "{status:?}");
    assert_eq!(of(refused, "net.sock.peer.port"), away.port().to_string());
    assert_eq!((of(opened, "http.status_code"), of(opened, "http.resend_count")), ("101".into(), "1".into()));
    assert_eq!(
        opened.events.iter().map(|event| event.name.as_str()).collect::<Vec<_>>(),
        ["connected", "answered"]
    );
    assert_eq!(head.get("traceparent"), format!("00-{trace}-{}-01", hex(&opened.span_id)));
    assert_eq!((head.get("tracestate"), head.get("x-trace")), ("x=y", trace));
    let taken = &collector.taken()[0];
    assert_eq!(taken.target, "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
    assert_eq!(taken.headers["content-type"], "application/grpc");
    let resource = taken.export.resource_spans[0].resource.as_ref().unwrap();
    assert_eq!(attribute(&resource.attributes, "service.name"), "gate");
    assert_eq!(attribute(&resource.attributes, "zone"), "b");
    // At the tunnel's end the access log names it all.
    server.send_frame(&close(1000, ""));
    assert_eq!(client.read_frame().close_code(), Some(1000));
    client.send_frame(&close(1000, ""));
    assert_eq!(server.read_frame().close_code(), Some(1000));
    server.end();
    client.expect_end();
    let line = format!("{trace} {} {} 1\n", hex(&own.span_id), &PARENT[36..52]);
    until("the access log is written", || longwire.folder().read("access.log") == line);
    assert_eq!(collector.spans().len(), 3, "the end of a tunnel is no span");
}

#[test]
fn a_handshake_that_fails_says_why_and_whose_fault_it_is() {
    let collector = Collector::grpc();
    let refusing = Backend::http(|_, _| "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".into());
    let longwire =
        Longwire::start(&traced(collector.addr, "otel_trace on;", &format!("proxy_pass http://{refusing};")));
    let fails = |path: &str, more: &str| {
        let mut conn = Conn::connect(longwire.addr());
        conn.send(frames::upgrade_request(path, more));
        conn.read_head().status()
    };
    assert_eq!(fails("/ws/", ""), 404);
    let (own, tries) = kinds(collector.expect(2));
    let status = own.status.as_ref().unwrap();
    assert_eq!(status.code, ERROR);
    assert!(status.message.starts_with("fault of the backend: it answered 404 instead of 101"), "{status:?}");
    assert_eq!(
        (of(&own, "longwire.fault"), of(&own, "longwire.cause")),
        ("backend".into(), "backend-answered".into())
    );
    assert_eq!(
        (of(&own, "http.status_code"), of(&tries[0], "http.status_code")),
        ("404".into(), "404".into())
    );
    // What never came to a backend, and what came to no location.
    assert_eq!(fails("/ws/", "Sec-WebSocket-Version: 8\r\n"), 426);
    let own = collector.expect(3).remove(2);
    assert_eq!(
        (of(&own, "longwire.fault"), of(&own, "longwire.cause")),
        ("client".into(), "malformed-handshake".into())
    );
    assert_eq!(fails("/elsewhere", ""), 404);
    let own = collector.expect(4).remove(3);
    assert_eq!((of(&own, "longwire.fault").as_str(), own.name.as_str()), ("configuration", ""));
}

/// The client has gone when its 101 comes, and hyper, which holds more of its bytes, does not look: only writing fails.
#[test]
fn a_handshake_whose_101_does_not_arrive_is_a_failed_one() {
    let (collector, backend) = (Collector::grpc(), Backend::new());
    let location = format!("proxy_pass http://{}; access_log DIR/access.log;", backend.addr());
    let longwire = Longwire::start(&traced(collector.addr, "otel_trace on;", &location));
    let mut client = Conn::connect(longwire.addr());
    let early = frames::text("early").bytes(Some([1; 4]));
    client.send([frames::upgrade_request("/ws/", "").as_bytes(), &early].concat());
    let (mut server, head) = backend.request();
    client.reset();
    assert!(server.try_upgrade(&head));
    let (own, tries) = kinds(collector.expect(2));
    let status = own.status.as_ref().unwrap();
    assert_eq!(status.code, ERROR);
    assert!(status.message.starts_with("fault of the client: it left before the answer"), "{status:?}");
    assert_eq!(
        (of(&own, "longwire.fault"), of(&own, "longwire.cause")),
        ("client".into(), "client-left".into())
    );
    assert_eq!(of(&own, "http.status_code"), "101");
    // The backend did what it should.
    assert_eq!((of(&tries[0], "http.status_code"), &tries[0].status), ("101".into(), &None));
    longwire.wait_log(&["[error]", "WebSocket handshake failed", &status.message]);
    server.expect_end();
    until("the access log is written", || longwire.folder().read("access.log").contains(" 101 "));
    assert_eq!(collector.spans().len(), 2);
}

#[test]
fn a_backend_that_breaks_off_its_answer_has_failed() {
    let (collector, backend) = (Collector::grpc(), Backend::new());
    let location = format!("proxy_pass http://{};", backend.addr());
    let longwire = Longwire::start(&traced(collector.addr, "otel_trace on;", &location));
    let mut client = Conn::connect(longwire.addr());
    client.send("GET /ws/ HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let (mut server, _) = backend.request();
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart");
    client.read_head();
    assert_eq!(client.read(4), b"part");
    server.end();
    client.expect_end();
    let (own, tries) = kinds(collector.expect(2));
    let status = tries[0].status.as_ref().unwrap();
    assert!(status.code == ERROR && status.message.contains("prematurely closed connection"), "{status:?}");
    // It had answered, and that is what the client was told.
    assert_eq!(
        (of(&tries[0], "http.status_code"), of(&own, "http.status_code")),
        ("200".into(), "200".into())
    );
    assert_eq!(tries[0].events.len(), 2);
}

#[test]
fn requests_go_over_http_to_an_endpoint_with_a_path() {
    let collector = Collector::http();
    let endpoint = format!("http://localhost:{}/v1/traces; header X-Key secret", collector.addr.port());
    let backend = telling();
    let location =
        format!("proxy_pass http://{backend}; otel_trace on; otel_span_name \"$request_method of $host\";");
    let longwire = Longwire::start(&traced(endpoint, "", &location));
    assert_eq!(told(longwire.addr(), ""), "|", "nothing is told where it is not asked for");
    let (own, tries) = kinds(collector.expect(2));
    assert_eq!((own.name.as_str(), &own.status, own.parent_span_id.len()), ("GET of a.test", &None, 0));
    assert_eq!(of(&own, "longwire.websocket"), "");
    assert_eq!(
        (of(&own, "http.response_content_length"), of(&tries[0], "http.status_code")),
        ("1".into(), "200".into())
    );
    let taken = &collector.taken()[0];
    assert_eq!((taken.target.as_str(), &taken.headers["x-key"]), ("/v1/traces", &"secret".parse().unwrap()));
    assert_eq!(taken.headers["content-type"], "application/x-protobuf");
    let resource = taken.export.resource_spans[0].resource.as_ref().unwrap();
    assert_eq!(attribute(&resource.attributes, "service.name"), "longwire");
}

#[test]
fn a_collector_by_tls_has_to_prove_its_name() {
    let identity = Identity::new(&["localhost"]);
    let collector = Collector::secure(&identity);
    let folder = Folder::new();
    identity.write(&folder, "right");
    Identity::new(&["localhost"]).write(&folder, "wrong");
    let port = collector.addr.port();
    let site = |name: &str| {
        let endpoint = format!("https://localhost:{port}; trusted_certificate {name}.crt");
        traced(endpoint, "otel_trace on;", "return 200;")
    };
    let longwire = Longwire::start_in(folder, &site("wrong"), &[]);
    get(longwire.addr(), "/ws/");
    longwire.wait_log(&["[warn]", "did not reach the collector", "TLS"]);
    assert!(collector.spans().is_empty());
    longwire.reload(&site("right"));
    get(longwire.addr(), "/ws/");
    collector.expect(1);
}

#[test]
fn backends_are_told_what_the_configuration_says() {
    let backend = telling();
    let sent = format!("traceparent: {PARENT}\r\ntracestate: x=y\r\n");
    let trace = &PARENT[3..35];
    for (context, passes_on, injects) in [
        ("ignore", true, false),
        ("extract", true, false),
        ("inject", false, true),
        ("propagate", true, true),
    ] {
        let location = format!("proxy_pass http://{backend}; otel_trace_context {context};");
        let longwire = Longwire::start(&format!(
            "server {{ listen 127.0.0.1:0; location / {{ {location} add_header X-Id $otel_trace_id; }} }}"
        ));
        // Nothing is recorded: nobody is told that it is.
        let alone = told(longwire.addr(), "");
        assert_eq!(
            (alone.len(), alone.ends_with("-00|")),
            if injects { (56, true) } else { (1, false) },
            "{context}: {alone}"
        );
        let answer = told(longwire.addr(), &sent);
        assert_eq!(answer.contains(trace), passes_on, "{context}: {answer}");
        assert_eq!(answer == format!("{PARENT}|x=y"), !injects, "{context}: {answer}");
        assert_eq!(answer.ends_with("-00|x=y"), context == "propagate", "{context}: {answer}");
        // One that breaks the rules is none.
        let broken = format!("traceparent: {}\r\ntracestate: x=y\r\n", PARENT.to_uppercase());
        assert_eq!(told(longwire.addr(), &broken).ends_with("-00|"), injects, "{context}");
    }
}

#[test]
fn the_parent_may_decide_what_is_recorded() {
    let collector = Collector::grpc();
    let backend = telling();
    let location = format!(
        "proxy_pass http://{backend}; otel_trace $otel_parent_sampled; otel_trace_context propagate;"
    );
    let longwire = Longwire::start(&traced(collector.addr, "", &location));
    let unsampled = PARENT.replace("b7-01", "b7-00");
    assert!(told(longwire.addr(), &format!("traceparent: {unsampled}\r\n")).ends_with("-00|"));
    assert!(told(longwire.addr(), "").ends_with("-00|"));
    let answer = told(longwire.addr(), &format!("traceparent: {PARENT}\r\n"));
    let (own, tries) = kinds(collector.expect(2));
    assert_eq!(hex(&own.parent_span_id), PARENT[36..52]);
    assert_eq!(answer, format!("{}{}-01|", &PARENT[..36], hex(&tries[0].span_id)));
}

#[test]
fn without_a_collector_all_goes_on_and_losses_are_counted() {
    // Nobody there, somebody who takes nothing, and somebody who never answers.
    let longwire = Longwire::start(&counting(nobody()));
    let web = longwire.addr_on("127.0.0.1");
    (0..3).for_each(|_| assert_eq!(get(web, "/ws/").1, "here"));
    until("three spans failed", || count(&longwire, "failed") == 3);
    longwire.wait_log(&["[warn]", "spans that did not reach the collector", "Connection refused"]);
    let told = longwire.log().matches("did not reach").count();
    assert_eq!(told, 1, "not more than once a minute");
    let refusing = Collector::grpc();
    refusing.set(Manner::Refuses);
    longwire.reload(&counting(refusing.addr));
    get(web, "/ws/");
    longwire.wait_log(&["[warn]", "did not reach", "gRPC status 8 too much"]);
    until("another one failed", || count(&longwire, "failed") == 4);
    let collector = Collector::grpc();
    longwire.reload(&counting(collector.addr));
    get(web, "/ws/");
    collector.expect(1);
    until("one was exported", || count(&longwire, "exported") == 1);
}

#[test]
fn a_collector_that_hangs_holds_nobody_up() {
    // One that does not even read, and one that speaks but never answers.
    let (deaf, mute) = (Backend::new(), Collector::grpc());
    mute.set(Manner::Hangs);
    let hangs = |addr: SocketAddr| {
        let mut longwire = Longwire::start(&counting(format!("{addr}; batch_size 4; batch_count 2")));
        let web = longwire.addr_on("127.0.0.1");
        (0..40).for_each(|_| assert_eq!(get(web, "/ws/").1, "here"));
        // Four are on their way and eight wait.
        until("all others found no room", || count(&longwire, "dropped") >= 28);
        let begun = Instant::now();
        longwire.signal(Signal::SIGQUIT);
        assert!(longwire.wait_exit(WAIT).success());
        // The collector alone has ten seconds for each batch.
        between(begun.elapsed(), 0, 8_000);
    };
    std::thread::scope(|scope| {
        for addr in [deaf.addr(), mute.addr] {
            scope.spawn(move || hangs(addr));
        }
    });
}

#[test]
fn an_answer_that_makes_no_sense_is_told_and_harms_nothing() {
    const PROTOBUF: &str = "application/x-protobuf";
    let says = |kind, body, times, status| Manner::Says { kind, body, times, status };
    let (grpc, http) = (Collector::grpc(), Collector::http());
    let over_grpc = grpc.addr.to_string();
    let over_http = format!("http://{}/v1/traces", http.addr);
    let longwire = Longwire::start(&counting(&over_grpc));
    let web = longwire.addr_on("127.0.0.1");
    let mut failed = 0;
    let mut fails = |words: &str| {
        assert_eq!(get(web, "/ws/").1, "here");
        failed += 1;
        until(words, || count(&longwire, "failed") == failed);
        longwire.wait_log(&["[warn]", "did not reach the collector", words]);
    };
    let long: &[u8] = &[b' '; 100_000];
    for (number, (collector, endpoint, manner, words)) in [
        (
            &grpc,
            &over_grpc,
            says("application/grpc", b"\0\0\0\0\x03\xff\xff\xff", 1, Some("0")),
            "no message of OTLP",
        ),
        (
            &grpc,
            &over_grpc,
            says("application/grpc", b"\0\xff\xff\xff\xff\x0a", 1, Some("0")),
            "no message of OTLP",
        ),
        (&grpc, &over_grpc, says("application/grpc", &[0; 5], 1, None), "gRPC status missing"),
        (&grpc, &over_grpc, says("application/grpc", long, 1000, Some("0")), "longer than"),
        (&http, &over_http, says(PROTOBUF, b"\xff\xff\xff", 1, None), "no message of OTLP"),
        (&http, &over_http, says("text/html", b"<html>Welcome</html>", 1, None), "no message of OTLP"),
        (&http, &over_http, says(PROTOBUF, long, 1000, None), "longer than"),
        // This one makes sense.
        (&http, &over_http, says(PROTOBUF, b"\x0a\x0b\x08\x01\x12\x07too old", 1, None), ": too old"),
    ]
    .into_iter()
    .enumerate()
    {
        // A connection that is kept, as over a new one nothing would be sent again.
        longwire.reload(&counting(endpoint));
        collector.set(Manner::Takes);
        get(web, "/ws/");
        until("one was exported", || count(&longwire, "exported") == number as u64 + 1);
        let before = collector.taken().len();
        collector.set(manner);
        fails(words);
        assert_eq!(collector.taken().len(), before + 1, "it was sent once");
    }
    // Some answer in JSON whatever they are asked in.
    http.set(says("application/json", b"{}", 1, None));
    get(web, "/ws/");
    until("its status counts", || count(&longwire, "exported") == 9);
    // What speaks another version of HTTP than it should.
    longwire.reload(&counting(http.addr));
    fails("OTLP over HTTP needs a path");
    longwire.reload(&counting(format!("http://{}/v1/traces", grpc.addr)));
    fails("OTLP over gRPC has no path");
    let memory = longwire.memory_kib();
    assert!(memory < 40_000, "{memory} KiB");
}

#[test]
fn what_waits_is_sent_at_a_reload_and_at_a_graceful_end() {
    let (before, after) = (Collector::grpc(), Collector::grpc());
    let site =
        |collector: &Collector| traced(collector.addr, "otel_trace on;", "return 200;").replace("20ms", "1h");
    let mut longwire = Longwire::start(&site(&before));
    get(longwire.addr(), "/ws/");
    assert!(before.spans().is_empty());
    longwire.reload(&site(&after));
    before.expect(1);
    get(longwire.addr(), "/ws/");
    assert!(after.spans().is_empty());
    longwire.signal(Signal::SIGQUIT);
    after.expect(1);
    assert!(longwire.wait_exit(WAIT).success());
    before.expect(1);
}

#[test]
fn an_upgrade_loses_no_span() {
    let collector = Collector::grpc();
    let echo = Backend::echo();
    let site = |interval: &str| {
        let more = "otel_trace on; otel_span_attr process $pid; log_format own $otel_trace_id; \
                    access_log DIR/access.log own;";
        let location = format!("proxy_pass http://{echo};");
        traced(collector.addr, more, &location).replace("20ms", interval)
    };
    let line = Lineage::start(Folder::new(), &site("1h"), &[]);
    let open = || {
        let mut tunnel = Conn::connect(line.longwire.addr());
        tunnel.send(frames::upgrade_request("/ws/", ""));
        tunnel.expect_tunnel();
        tunnel.expect_echo("here");
        tunnel
    };
    let mut tunnel = open();
    assert!(collector.spans().is_empty());
    line.put_configuration(&site("20ms"));
    let upgraded = line.upgrade();
    assert_eq!(upgraded.tunnels, 1);
    // The old one's, by the old one.
    let (first, _) = kinds(collector.expect(2));
    assert_eq!(of(&first, "process"), upgraded.before.to_string());
    line.wait_gone(upgraded.before);
    tunnel.expect_echo("after");
    let _next = open();
    let (second, _) = kinds(collector.expect(4).split_off(2));
    assert_eq!(of(&second, "process"), upgraded.now.to_string());
    // The line at the end of the one that went over still names its trace.
    tunnel.send_frame(&close(1000, ""));
    assert_eq!(tunnel.read_frame().close_code(), Some(1000));
    tunnel.expect_end();
    let trace = hex(&first.trace_id);
    until("the access log is written", || line.folder().read("access.log").contains(&trace));
    assert_eq!(collector.spans().len(), 4, "the end of a tunnel is no span");
}

#[test]
fn mistakes_are_told_as_by_nginx() {
    let server = "server { listen 127.0.0.1:0; }";
    let exporter = |inside: &str| format!("otel_exporter {{ {inside} }} {server}");
    for (text, words) in [
        (format!("otel_trace on; {server}"), "\"otel_exporter\" block is missing"),
        (exporter(""), "\"otel_exporter\" requires \"endpoint\""),
        (exporter("endpoint a:1; endpoint b:1;"), "\"endpoint\" directive of \"otel_exporter\" is duplicate"),
        (exporter("endpoint a:1; nothing 1;"), "unknown directive \"nothing\" in \"otel_exporter\""),
        (
            exporter("endpoint a:1 b;"),
            "invalid number of arguments in \"endpoint\" directive of \"otel_exporter\"",
        ),
        (exporter("endpoint a:1; interval x;"), "\"interval\" directive of \"otel_exporter\" invalid value"),
        (
            exporter("endpoint a:1; batch_size 0;"),
            "\"batch_size\" directive of \"otel_exporter\" invalid value",
        ),
        (
            exporter("endpoint a:1; header a: b;"),
            "\"header\" directive of \"otel_exporter\" has invalid header name",
        ),
        (exporter("endpoint a:0;"), "\"endpoint\" directive of \"otel_exporter\" has invalid port"),
        (exporter("endpoint https://a; trusted_certificate none;"), "none: cannot load"),
        (format!("otel_trace_context both; {server}"), "invalid value \"both\""),
    ] {
        let (good, said) = check(&text);
        assert!(!good && said.contains(words), "{text}: {said}");
    }
    let (_, said) = check(&format!("\notel_exporter {{\n    endpoint localhost:99999;\n}}\n{server}"));
    assert!(said.contains("longwire.conf:3") && said.contains("invalid port"), "{said}");
}

/// All, what the parent says, and a share of traces or of sessions: the ways to choose that nginx's documentation shows.
#[test]
fn a_file_for_the_module_of_nginx_is_good() {
    let (good, said) = check(
        "load_module modules/ngx_otel_module.so;
         events {}
         http {
             otel_exporter {
                 endpoint localhost:4317; interval 5s; batch_size 512; batch_count 4;
                 header X-API-Token t;
             }
             otel_service_name shop;
             otel_resource_attr zone b;
             split_clients \"$otel_trace_id\" $some_traces { 10% on; * off; }
             split_clients \"$cookie_sessionid\" $some_sessions { 10% on; * off; }
             server {
                 listen 127.0.0.1:0;
                 location / { otel_trace on; otel_trace_context inject; proxy_pass http://127.0.0.1:9; }
                 location /parent/ {
                     otel_trace $otel_parent_sampled; otel_trace_context propagate;
                     otel_span_name parent; otel_span_attr path $uri; proxy_pass http://127.0.0.1:9;
                 }
                 location /traces/ { otel_trace $some_traces; otel_trace_context extract; return 204; }
                 location /sessions/ { otel_trace $some_sessions; otel_trace_context ignore; return 204; }
             }
         }",
    );
    assert!(good && said.contains("test is successful"), "{said}");
}
