//! Whatever the bytes: no panic, and every mark lies inside its text.

mod support;

use std::path::Path;

use longwire_conf::check::Wishes;
use support::{Table, load_table};

const WORDS: &[&str] = &[
    "server",
    "location",
    "map",
    "upstream",
    "http",
    "events",
    "listen",
    "80",
    "443 ssl",
    "proxy_pass",
    "http://a",
    "https://[::1]:1/x",
    "http://unix:/a:/b",
    "return",
    "301",
    "/",
    "~",
    "~*",
    "=",
    "@x",
    "{",
    "}",
    ";",
    "\n",
    "\"",
    "'",
    "\\",
    "$",
    "${",
    "$host",
    "$http_x",
    "$1",
    "proxy_set_header",
    "Host",
    "include",
    "a.conf",
    "*.conf",
    "default",
    "hostnames",
    "error_page",
    "500",
    "=200",
    "root",
    "/x",
    "websocket_ping",
    "10s",
    "timeout=1s",
    "log_format",
    "access_log",
    "if=$x",
    "server_name",
    "*.a.b",
    "~^(?<n>.*)$",
    "é",
    "#",
    "set",
    "if",
    "internal",
    "ssl_certificate",
    "proxy_redirect",
    "off",
    "on",
    "keepalive",
    "weight=2",
    "backup",
    "\0",
    "\r\n",
    "content_by_lua_block",
    "http",
    "events",
    "Upgrade",
    "Connection",
    "$http_upgrade",
    "$connection_upgrade",
    "/ws/",
    "/socket.io/",
    "@ws",
    "=",
    "^~",
    "try_files",
    "auth_request",
    "proxy_http_version",
    "1.0",
    "proxy_read_timeout",
    "limit_conn",
    "worker_connections",
    "http2",
    "proxy_cache",
];

fn seed() -> u64 {
    let given = std::env::var("LONGWIRE_SEED").ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(|| fastrand::u64(..))
}

fn text(random: &mut fastrand::Rng) -> Vec<u8> {
    let mut text = Vec::new();
    for _ in 0..random.usize(..80) {
        match random.u8(..20) {
            0 => text.push(random.u8(..)),
            1..=4 => {}
            _ => text.push(b' '),
        }
        text.extend_from_slice(WORDS[random.usize(..WORDS.len())].as_bytes());
    }
    text
}

#[test]
fn nothing_panics_and_marks_lie_inside() {
    let seed = seed();
    for step in 0..1500 {
        let mut random = fastrand::Rng::with_seed(seed.wrapping_add(step));
        let (main, included) = (text(&mut random), text(&mut random));
        let table =
            Table::default().with("/etc/longwire/test.conf", &main).with("/etc/longwire/a.conf", &included);
        let checked = std::panic::catch_unwind(|| check(&table));
        assert!(checked.is_ok(), "LONGWIRE_SEED={seed} at step {step}: {:?}", String::from_utf8_lossy(&main));
    }
}

fn check(table: &Table) {
    let loaded = load_table(table);
    for diagnostic in &loaded.diagnostics {
        if let Some(span) = diagnostic.span {
            let text = &loaded.sources.files()[span.file as usize].text;
            assert!(text.get(span.start as usize..span.end as usize).is_some(), "{diagnostic:?}");
            loaded.sources.locate(span);
        }
        assert!(diagnostic.render(&loaded.sources, false).ends_with('\n'));
        diagnostic.render(&loaded.sources, true);
    }
    judge(table);
}

/// The same for the rules about WebSockets; what they suggest can be read again.
fn judge(table: &Table) {
    let file = Path::new("/etc/longwire/test.conf");
    let wishes = Wishes { tunnels: Some(100_000), cores: Some(2) };
    let checked = longwire_conf::check::check(table, file, wishes);
    for finding in &checked.findings {
        for span in
            finding.places.iter().map(|place| place.span).chain(finding.fix.iter().map(|edit| edit.span))
        {
            let text = &checked.sources.files()[span.file as usize].text;
            assert!(text.get(span.start as usize..span.end as usize).is_some(), "{finding:?}");
        }
        assert!(finding.render(&checked.sources, false).starts_with(['e', 'w', 'n']), "{finding:?}");
        finding.render(&checked.sources, true);
        for (path, text) in finding.corrected(&checked.sources) {
            let again = Table::default().with(&path.to_string_lossy(), text);
            longwire_conf::check::check(&again, &path, wishes);
        }
    }
}

#[test]
fn large_nonsense_takes_little_time() {
    for text in [
        "http\nx y ",
        "a {",
        "}",
        "\"",
        "${",
        "server { ",
        "listen 80;",
        "proxy_pas;",
        "map $a $b { a $c; } ",
    ] {
        let table = Table::default().with("/etc/longwire/test.conf", text.repeat(20_000));
        judge(&table);
        let loaded = load_table(&table);
        assert!(loaded.config.is_none() && loaded.diagnostics.len() <= 501);
    }
}

#[test]
fn many_warnings_leave_the_model_whole() {
    let text = "server { server_name a; location / { return 204; } }\n".repeat(2000);
    let loaded = load_table(&Table::default().with("/etc/longwire/test.conf", text));
    assert_eq!(loaded.config.map(|config| config.servers.len()), Some(2000));
    assert_eq!(loaded.diagnostics.len(), 501);
}
