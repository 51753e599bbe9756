//! What a configuration means: inheritance, forms of addresses and locations, maps, times.

#![allow(clippy::panic, clippy::unwrap_used)]

mod support;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use longwire_conf::model::{
    Address, Config, Content, ErrorAnswer, Listen, Location, LogTarget, Matcher, OnRemoval, Ping, ProxyPass,
    ProxyRedirect, ProxyTarget, RedirectRule, Rule, ServerName,
};
use longwire_conf::template::{Known, Part, Template, Variable};
use longwire_conf::{Input, Severity, value};
use support::{Table, load, load_table, rendered};

/// The model of a text that must be good.
fn config(text: &str) -> Config {
    let loaded = load(text);
    let shown = rendered(&loaded);
    loaded.config.unwrap_or_else(|| panic!("{shown}"))
}

/// The only location of the only server, with these directives in it.
fn location(inside: &str) -> (Config, Location) {
    let config = config(&format!("server {{ location /a/ {{ {inside} }} }}"));
    let location = config.servers[0].locations[0].clone();
    (config, location)
}

fn pass(location: &Location) -> &ProxyPass {
    match &location.content {
        Content::Proxy(pass) => pass,
        other => panic!("{other:?}"),
    }
}

fn listen(text: &str) -> Listen {
    config(&format!("server {{ listen {text}; location / {{ return 204; }} }}")).servers[0].listens[0]
        .value
        .clone()
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn times() {
    for (text, milliseconds) in [
        ("0", 0),
        ("60", 60_000),
        ("60s", 60_000),
        ("500ms", 500),
        ("1m30s", 90_000),
        ("1m 30s", 90_000),
        ("1h30", 3_630_000),
        ("1d12h", 129_600_000),
        ("7d", 604_800_000),
        ("1w", 604_800_000),
        ("1M", 2_592_000_000),
        ("1y", 31_536_000_000),
        ("1s500ms", 1500),
    ] {
        assert_eq!(value::time(text), Some(Duration::from_millis(milliseconds)), "{text}");
    }
    for text in
        ["", "s", "1x", "-1", "1s1m", "1m1m", "1.5s", "ms", " 1s", "1 s", "99999999999999999999", "1ms1s"]
    {
        assert_eq!(value::time(text), None, "{text}");
    }
    assert_eq!(value::seconds("1500ms"), None);
    assert_eq!(value::seconds("10s"), Some(secs(10)));
}

#[test]
fn sizes() {
    for (text, bytes) in
        [("0", 0), ("512", 512), ("8k", 8192), ("8K", 8192), ("10m", 10 << 20), ("1g", 1 << 30)]
    {
        assert_eq!(value::size(text), Some(bytes), "{text}");
    }
    for text in ["", "k", "1kb", "1.5m", "-1", "99999999999g"] {
        assert_eq!(value::size(text), None, "{text}");
    }
}

#[test]
fn entry_loads_without_a_word() {
    let text = include_str!("golden/entry.conf");
    let loaded = load(text);
    assert!(loaded.diagnostics.is_empty(), "{}", rendered(&loaded));
    let config = loaded.config.unwrap();
    let server = &config.servers[0];
    let location = &server.locations[0];
    assert!(server.listens[0].value.ssl && server.tls.certificates.is_empty());
    assert_eq!(location.settings.proxy_read_timeout, secs(3600));
    assert_eq!(location.settings.proxy_set_header[1].1.parts, [Part::Variable(Variable::Map(0))]);
    assert_eq!(
        location.settings.proxy_set_header[0].1.parts,
        [Part::Variable(Variable::Http("upgrade".into()))]
    );
    assert_eq!(config.maps[0].exact, [(String::new(), Template::literal("close"))]);
    assert_eq!(config.maps[0].default, Template::literal("upgrade"));
    assert_eq!(config.upstreams[0].servers[0].address.value, Address::Ip(Ipv4Addr::LOCALHOST.into(), 3000));
}

#[test]
fn values_are_inherited_one_by_one_and_lists_whole() {
    let config = config(
        "proxy_set_header A 1; proxy_read_timeout 5s; add_header X 1;
         server {
             location /own { proxy_pass http://a; proxy_set_header B 2; proxy_send_timeout 6s; }
             location /none { proxy_pass http://a; location /none/deep { proxy_pass http://a; add_header Y 2; } }
             proxy_connect_timeout 7s; access_log off;
         }
         server { location / { proxy_pass http://a; access_log /l; } }",
    );
    let [own, none] = &config.servers[0].locations[..] else { panic!() };
    let names = |location: &Location| -> Vec<String> {
        location.settings.proxy_set_header.iter().map(|(name, _)| name.clone()).collect()
    };
    assert_eq!((names(own), names(none)), (vec!["B".to_owned()], vec!["A".to_owned()]));
    assert_eq!(own.settings.proxy_read_timeout, secs(5));
    assert_eq!(own.settings.proxy_send_timeout, secs(6));
    assert_eq!(own.settings.proxy_connect_timeout, secs(7), "typed behind the location");
    assert_eq!(none.settings.proxy_send_timeout, secs(60));
    let deep = &none.locations[0];
    assert_eq!((names(deep), deep.settings.add_header.len()), (vec!["A".to_owned()], 1));
    assert_eq!(deep.settings.add_header[0].name, "Y");
    assert!(own.settings.access_log.is_empty());
    let log = &config.servers[1].locations[0].settings.access_log;
    assert_eq!(log[0].target.value, LogTarget::File("/l".into()));
    assert_eq!(config.servers[1].settings.access_log[0].target.value, LogTarget::File("/dev/stdout".into()));
}

#[test]
fn defaults_are_those_of_nginx() {
    let (_, location) = location("return 204;");
    let settings = &location.settings;
    assert_eq!(settings.client_max_body_size, Some(1 << 20));
    assert_eq!(settings.keepalive_timeout, secs(75));
    assert!(settings.proxy_set_header.is_empty());
    assert_eq!(settings.websocket_ping, Some(Ping { interval: secs(30), timeout: secs(10) }));
    assert!(matches!(settings.proxy_redirect, ProxyRedirect::Default));
}

#[test]
fn proxy_pass_forms() {
    let group = |text: &str| {
        let (config, location) = location(&format!("proxy_pass {text};"));
        let pass = pass(&location).clone();
        let ProxyTarget::Group { upstream, host, uri } = pass.target else { panic!("{text}") };
        (pass.https, config.upstreams[upstream].servers[0].address.value.clone(), host, uri)
    };
    let ip = |port| Address::Ip(Ipv4Addr::LOCALHOST.into(), port);
    let name = |port| Address::Name("example.com".into(), port);
    assert_eq!(group("http://127.0.0.1:3000"), (false, ip(3000), "127.0.0.1:3000".into(), None));
    assert_eq!(group("http://127.0.0.1:80/"), (false, ip(80), "127.0.0.1".into(), Some("/".into())));
    assert_eq!(group("https://example.com"), (true, name(0), "example.com".into(), None));
    assert_eq!(
        group("HTTPS://example.com:443/x?y"),
        (true, name(443), "example.com".into(), Some("/x?y".into()))
    );
    let v6 = Address::Ip(Ipv6Addr::LOCALHOST.into(), 8080);
    assert_eq!(group("http://[::1]:8080/a"), (false, v6, "[::1]:8080".into(), Some("/a".into())));
    let unix = Address::Unix("/run/a.sock".into());
    assert_eq!(group("http://unix:/run/a.sock"), (false, unix.clone(), "localhost".into(), None));
    assert_eq!(group("http://unix:/run/a.sock:/x/"), (false, unix, "localhost".into(), Some("/x/".into())));

    let (_, location) = location("proxy_pass http://$host:8080$request_uri;");
    let ProxyTarget::Variable(template) = &pass(&location).target else { panic!() };
    assert_eq!(template.parts[1], Part::Variable(Variable::Known(Known::Host)));
}

#[test]
fn groups_come_first_and_addresses_once() {
    let config = config(
        "server {
             location /a { proxy_pass http://127.0.0.1:1; }
             location /b { proxy_pass http://127.0.0.1:1/b; }
             location /c { proxy_pass http://Chat; }
             location /d { proxy_pass http://127.0.0.1:2; }
         }
         upstream chat { server 10.0.0.1:1 weight=3 max_fails=0 fail_timeout=30s; server b backup; server unix:/x down; }",
    );
    let upstream_of = |location: &Location| match pass(location).target {
        ProxyTarget::Group { upstream, .. } => upstream,
        ProxyTarget::Variable(_) => panic!(),
    };
    let indices: Vec<_> = config.servers[0].locations.iter().map(upstream_of).collect();
    assert_eq!(indices, [1, 1, 0, 2]);
    assert!(!config.upstreams[0].implicit && config.upstreams[1].implicit);
    let [first, second, third] = &config.upstreams[0].servers[..] else { panic!() };
    assert_eq!((first.weight, first.max_fails, first.fail_timeout), (3, 0, secs(30)));
    assert_eq!(second.address.value, Address::Name("b".into(), 0));
    assert!(second.backup && third.down);
}

#[test]
fn listen_forms() {
    let every = Ipv4Addr::UNSPECIFIED.into();
    for (text, address) in [
        ("80", Address::Ip(every, 80)),
        ("*:81", Address::Ip(every, 81)),
        ("127.0.0.1", Address::Ip(Ipv4Addr::LOCALHOST.into(), 80)),
        ("127.0.0.1:82", Address::Ip(Ipv4Addr::LOCALHOST.into(), 82)),
        ("[::]:83", Address::Ip(Ipv6Addr::UNSPECIFIED.into(), 83)),
        ("[::1]", Address::Ip(Ipv6Addr::LOCALHOST.into(), 80)),
        ("localhost:84", Address::Name("localhost".into(), 84)),
        ("localhost", Address::Name("localhost".into(), 80)),
        ("unix:/run/a.sock", Address::Unix("/run/a.sock".into())),
    ] {
        assert_eq!(listen(text).address, address, "{text}");
    }
    let all = listen(
        "443 ssl default reuseport backlog=5 ipv6only=off so_keepalive=30m::10 rcvbuf=1k deferred bind",
    );
    assert!(all.ssl && all.default_server && all.reuseport && all.so_keepalive && !all.ipv6only);
    assert_eq!(all.backlog, Some(5));
    assert_eq!(
        config("server { location / { return 204; } }").servers[0].listens[0].value.address,
        Address::Ip(every, 80)
    );
    assert!(
        config("ssl on; server { listen 1; location / { return 204; } }").servers[0].listens[0].value.ssl
    );
}

#[test]
fn servers_at_one_address_share_its_socket() {
    let config = config(
        "server { listen 443 ssl default_server; server_name a; location / { return 204; } }
         server { listen 443 backlog=9; server_name b; location / { return 204; } }",
    );
    let [first, second] = [0, 1].map(|at: usize| config.servers[at].listens[0].value.clone());
    assert!(first.ssl && second.ssl && first.default_server && !second.default_server);
    assert_eq!((first.backlog, second.backlog), (Some(9), Some(9)));
}

#[test]
fn server_names() {
    let config =
        config("server { server_name A.b *.c .d e.* \"\" _ ~^(?<n>x)\\.y$; location / { return 200 $n; } }");
    let shown: Vec<String> = config.servers[0].names.iter().map(|name| format!("{name:?}")).collect();
    let expected = [
        "Exact(\"a.b\")",
        "Suffix(\".c\")",
        "Exact(\"d\")",
        "Suffix(\".d\")",
        "Prefix(\"e.\")",
        "Exact(\"\")",
        "Exact(\"_\")",
        "Regex(Pattern(\"^(?<n>x)\\\\.y$\"))",
    ];
    assert_eq!(shown, expected);
    assert!(matches!(&config.servers[0].names[7], ServerName::Regex(regex) if regex.is_match("X.Y")));
}

#[test]
fn location_forms() {
    let config = config(
        "server {
             location = /a { return 204; } location =/b { return 204; } location ^~ /c { return 204; }
             location ~ ^/d { return 204; } location ~*^/e$ { return 204; } location @f { return 204; }
             location \"/g h\" { internal; return 204; }
         }",
    );
    let shown: Vec<String> =
        config.servers[0].locations.iter().map(|one| format!("{:?}", one.matcher)).collect();
    let expected = [
        "Exact(\"/a\")",
        "Exact(\"/b\")",
        "Prefix { path: \"/c\", no_regex: true }",
        "Regex(Pattern(\"^/d\"))",
        "Regex(Pattern(\"^/e$\"))",
        "Named(\"f\")",
        "Prefix { path: \"/g h\", no_regex: false }",
    ];
    assert_eq!(shown, expected);
    assert!(config.servers[0].locations[6].internal);
    assert!(matches!(&config.servers[0].locations[4].matcher, Matcher::Regex(regex) if regex.is_match("/E")));
}

#[test]
fn returns_and_error_pages() {
    let answer = |text: &str| {
        let (_, location) = location(&format!("return {text};"));
        let [Rule::Return(answer, _)] = location.rules.as_slice() else { panic!("{text}") };
        (answer.code, answer.text.as_ref().and_then(|text| text.as_literal().map(str::to_owned)))
    };
    assert_eq!(answer("404"), (404, None));
    assert_eq!(answer("200 'a b'"), (200, Some("a b".into())));
    assert_eq!(answer("https://a/"), (302, Some("https://a/".into())));
    assert_eq!(answer("444"), (444, None));

    let (_, location) =
        location("proxy_pass http://a; error_page 404 =200 /x; error_page 500 502 = @y; error_page 403 /z;");
    let pages = &location.settings.error_page;
    assert_eq!(
        (pages[0].answer, pages[1].answer, pages[2].answer),
        (ErrorAnswer::Code(200), ErrorAnswer::Page, ErrorAnswer::Keep)
    );
    assert_eq!(pages[1].codes, [500, 502]);
    assert_eq!(pages[1].target, Template::literal("@y"));
}

#[test]
fn maps() {
    let config = config(
        "map $host $a {
             volatile; hostnames; default d; Example.COM exact; *.a.com long; *.com short; .b.org both; www.* www; \\default odd;
             ~^(?<user>\\w+)\\.c$ $user; ~*X caseless;
         }
         map $http_host $b { *.x text; }
         server { location / { return 200 $a$b$user; } }",
    );
    let map = &config.maps[0];
    let keys =
        |entries: &[(String, Template)]| entries.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>();
    assert_eq!(keys(&map.exact), ["example.com", "b.org", "default"]);
    assert_eq!(keys(&map.suffixes), [".a.com", ".b.org", ".com"]);
    assert_eq!(keys(&map.prefixes), ["www."]);
    assert_eq!(map.regexes.len(), 2);
    assert_eq!(map.regexes[0].1.parts, [Part::Variable(Variable::Named("user".into()))]);
    assert!(map.regexes[1].0.is_match("x") && map.hostnames);
    assert_eq!(keys(&config.maps[1].exact), ["*.x"], "a mask is a text without \"hostnames\"");
}

#[test]
fn redirects() {
    let (_, location) = location(
        "proxy_pass http://a; proxy_redirect default; proxy_redirect http://a/ /b/; proxy_redirect ~*^x(.*) y$1;",
    );
    let ProxyRedirect::Rules(rules) = &location.settings.proxy_redirect else { panic!() };
    assert!(matches!(&rules[..], [RedirectRule::Default, RedirectRule::Prefix(..), RedirectRule::Regex(..)]));
}

#[test]
fn websocket_directives() {
    let (_, off) =
        location("return 204; websocket_ping off; websocket_max_message 1m; websocket_close_timeout 1s;");
    assert_eq!((off.settings.websocket_ping, off.settings.websocket_max_message), (None, Some(1 << 20)));
    let (_, short) = location("return 204; websocket_ping 5s;");
    assert_eq!(short.settings.websocket_ping, Some(Ping { interval: secs(5), timeout: secs(5) }));
    let (config, there) = location("return 204; websocket_drain 5m; websocket_reload drain;");
    assert_eq!(there.settings.websocket_drain, secs(300));
    assert_eq!(there.settings.websocket_reload, OnRemoval::Drain);
    assert_eq!((config.main.websocket_drain, config.main.websocket_reload), (secs(60), OnRemoval::Keep));
}

#[test]
fn paths_count_from_where_nginx_counts_them() {
    let config = config(
        "pid run/a.pid; error_log logs/e.log warn;
         http { ssl_certificate c.pem; ssl_certificate_key c.key;
                server { listen 443 ssl; access_log logs/a.log; location / { return 204; } } }",
    );
    assert_eq!(config.main.pid.unwrap().value, PathBuf::from("/prefix/run/a.pid"));
    assert_eq!(config.main.error_log[0].target.value, LogTarget::File("/prefix/logs/e.log".into()));
    let server = &config.servers[0];
    assert_eq!(server.tls.certificates[0].chain.value, PathBuf::from("/etc/longwire/c.pem"));
    assert_eq!(server.settings.access_log[0].target.value, LogTarget::File("/prefix/logs/a.log".into()));
}

#[test]
fn globals_come_on_top_of_the_file() {
    let table = Table::default().with("/a.conf", "server { location / { return 204; } }");
    let input = Input {
        file: Path::new("/a.conf"),
        prefix: Path::new("/"),
        globals: Some("pid /x; worker_processes 3;"),
        allow_unsupported: false,
    };
    let main = longwire_conf::load(&table, input).config.unwrap().main;
    assert_eq!((main.pid.unwrap().value, main.worker_processes), (PathBuf::from("/x"), Some(3)));
}

#[test]
fn includes_may_stand_in_any_block() {
    let table = Table::default()
        .with(
            "/etc/longwire/test.conf",
            "include conf.d/*.conf; server { location / { include headers; proxy_pass http://a; } }",
        )
        .with("/etc/longwire/headers", "proxy_set_header A $x;")
        .with("/etc/longwire/conf.d/map.conf", "map $uri $x { include /entries; }")
        .with("/entries", "/a b;");
    let loaded = load_table(&table);
    assert!(loaded.diagnostics.iter().all(|found| found.severity < Severity::Error), "{}", rendered(&loaded));
    let config = loaded.config.unwrap();
    assert_eq!(
        (config.maps[0].exact.len(), config.servers[0].locations[0].settings.proxy_set_header.len()),
        (1, 1)
    );
    assert_eq!(loaded.sources.files().len(), 4);
}

#[test]
fn places() {
    let loaded = load("server {\n    # é\n    é listn 80;\n}");
    let span = loaded.diagnostics[0].span.unwrap();
    let (path, line, column) = loaded.sources.locate(span);
    assert_eq!((path, line, column), (Path::new("/etc/longwire/test.conf"), 3, 5));
}

/// `json` is predefined, and free for people's own; `log_json` gives it to logs that name no format.
#[test]
fn json_is_a_format_of_logs() {
    let text =
        |more: &str| format!("http {{ {more} access_log /a; server {{ access_log /b json; }} }} events {{}}");
    let formats = |more: &str| {
        let config = config(&text(more));
        let format = |log: &longwire_conf::model::AccessLog| config.log_formats[log.format].name.clone();
        (
            format(&config.servers[0].settings.access_log[0]),
            config.log_json,
            config.log_formats[0].name.clone(),
        )
    };
    let name = |name: &str| name.to_owned();
    assert_eq!(formats(""), (name("json"), false, name("")));
    assert_eq!(formats("log_json on;"), (name("json"), true, name("json")));
    let config = config(&text("log_format json '$status';"));
    let own = &config.log_formats[config.servers[0].settings.access_log[0].format];
    assert_eq!(own.template.parts.len(), 1, "one's own");
}

#[test]
fn traces_are_inherited_as_in_nginx() {
    let config = config(
        "otel_exporter { endpoint HTTPS://C.example/v1/traces; batch_size 1k; header X-Key abc; }\n\
         otel_resource_attr a b; otel_resource_attr a c;\n\
         otel_trace on; otel_trace_context inject; otel_span_name outer; otel_span_attr one 1; otel_span_attr two 2;\n\
         server { location / { } location /own { otel_trace $otel_parent_sampled; otel_trace_context Extract; otel_span_attr three $uri; } }",
    );
    let exporter = config.otel.exporter.as_ref().unwrap();
    let endpoint = &exporter.endpoint.value;
    assert_eq!(
        (endpoint.https, &endpoint.address, endpoint.path.as_deref()),
        (true, &Address::Name("c.example".to_owned(), 443), Some("/v1/traces"))
    );
    assert_eq!(
        (exporter.batch_size, exporter.batch_count, exporter.interval),
        (1024, 4, Duration::from_secs(5))
    );
    assert_eq!(exporter.headers, [("x-key".to_owned(), "abc".to_owned())]);
    assert_eq!(config.otel.resource, [("a".to_owned(), "c".to_owned())]);
    let [plain, own] = config.servers[0].locations.as_slice() else { panic!() };
    let tracing = &plain.settings.tracing;
    assert_eq!(tracing.trace.as_ref().and_then(Template::as_literal), Some("on"));
    assert_eq!((tracing.context.extract, tracing.context.inject, tracing.span_attr.len()), (false, true, 2));
    let tracing = &own.settings.tracing;
    assert_eq!(tracing.trace.as_ref().map(|value| value.as_literal().is_none()), Some(true));
    assert_eq!((tracing.context.extract, tracing.context.inject, tracing.span_attr.len()), (true, false, 1));
    assert_eq!(tracing.span_name.as_ref().and_then(Template::as_literal), Some("outer"));
    for (text, used) in [
        ("", false),
        ("otel_trace_context ignore;", false),
        ("otel_trace_context extract;", true),
        ("add_header a $otel_trace_id;", true),
    ] {
        let config = self::config(&format!("server {{ location / {{ {text} }} }}"));
        assert_eq!(config.otel.used, used, "{text}");
    }
    for (text, port) in
        [("a", 4317), ("http://a/", 4317), ("a:1", 1), ("http://a/b", 80), ("https://a:2/b", 2)]
    {
        let config = self::config(&format!("otel_exporter {{ endpoint {text}; }} server {{ }}"));
        let endpoint = config.otel.exporter.unwrap().endpoint.value;
        assert_eq!(endpoint.address, Address::Name("a".to_owned(), port), "{text}");
    }
}
