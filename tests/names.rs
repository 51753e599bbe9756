//! Names that are looked up while serving: `resolver`, `server ... resolve`, SRV records, variables in `proxy_pass`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::net::SocketAddr;

use support::conn::get;
use support::dns::{Dns, Record, address};
use support::instance::{Instance, handshake, tunnel};
use support::{Longwire, until};

/// Instances on one port of several loopback addresses, as a name with several addresses has them.
fn on_one_port(names: &[(&str, &str)]) -> Vec<Instance> {
    let port = support::backend::nobody().port();
    let at = |(name, ip): &(&str, &str)| Instance::at(name, SocketAddr::new(ip.parse().unwrap(), port));
    names.iter().map(at).collect()
}

fn resolving(dns: &Dns, parameters: &str, server: &str) -> String {
    format!(
        "resolver {} {parameters}; resolver_timeout 3s;
         upstream app {{ server {server}; }}
         server {{ listen 127.0.0.1:0; location / {{ proxy_pass http://app; }} }}",
        dns.addr
    )
}

#[test]
fn servers_come_and_go_with_their_name() {
    let dns = Dns::new();
    let apps = on_one_port(&[("a", "127.0.0.1"), ("b", "127.0.0.2")]);
    let port = apps[0].addr.port();
    dns.set("app.test", 1, [address("127.0.0.1")]);
    let longwire = Longwire::start(&resolving(&dns, "ipv6=off", &format!("App.test:{port} resolve")));
    // The very first request waits for the name.
    let (mut old, head) = tunnel(longwire.addr(), "");
    assert_eq!(head.get("x-instance"), "a");
    longwire.wait_log(&["servers of app.test in upstream \"app\" are now: 127.0.0.1:"]);

    dns.set("app.test", 1, [address("127.0.0.2"), address("127.0.0.1")]);
    longwire.wait_log(&["are now: 127.0.0.1:", ", 127.0.0.2:"]);
    let found: std::collections::HashSet<_> = (0..4).map(|_| get(longwire.addr(), "/").1).collect();
    assert_eq!(found.len(), 2, "both serve");

    dns.set("app.test", 1, [address("127.0.0.2")]);
    longwire.wait_log(&["are now: 127.0.0.2:"]);
    assert!((0..4).all(|_| get(longwire.addr(), "/").1 == "b"));
    old.expect_echo("a tunnel stays where it is");

    // A silent name server changes nothing; a name that is gone has no servers.
    dns.silence(true);
    longwire.wait_log(&["app.test in upstream \"app\" could not be resolved (Operation timed out)"]);
    assert_eq!(get(longwire.addr(), "/").1, "b");
    dns.set("app.test", 1, []);
    dns.silence(false);
    longwire.wait_log(&["app.test in upstream \"app\" could not be resolved (Host not found)"]);
    longwire.wait_log(&["has no servers any more"]);
    assert_eq!(handshake(longwire.addr(), "").status(), 502);
    longwire.wait_log(&["WebSocket handshake failed", "no live upstreams"]);
    old.expect_echo("still");
}

#[test]
fn what_was_looked_up_serves_on_after_a_reload_though_nobody_can_be_asked() {
    let dns = Dns::new();
    let app = Instance::new("a");
    dns.set("app.test", 1000, [address("127.0.0.1")]);
    let resolve = format!("app.test:{} resolve", app.addr.port());
    let configuration = resolving(&dns, "ipv6=off", &resolve);
    let longwire = Longwire::start(&configuration);
    assert_eq!(get(longwire.addr(), "/").1, "a");
    let asked = dns.questions();
    longwire.reload(&configuration);
    assert_eq!((get(longwire.addr(), "/").1.as_str(), dns.questions()), ("a", asked));
    // Other rules of the resolver, so nothing that it remembers holds; the servers are known all the same.
    dns.silence(true);
    longwire.reload(&configuration.replace("ipv6=off", "ipv6=off valid=10s"));
    assert_eq!(get(longwire.addr(), "/").1, "a");
    longwire.wait_log(&["app.test in upstream \"app\" could not be resolved (Operation timed out)"]);
    assert_eq!(get(longwire.addr(), "/").1, "a");
}

#[test]
fn services_say_ports_weights_and_who_stands_by() {
    let dns = Dns::new();
    let apps = Instance::several(3);
    let service = |priority, weight, app: &Instance, host: &str| {
        Record::Service(priority, weight, app.addr.port(), host.to_owned())
    };
    dns.set("one.test", 60, [address("127.0.0.1")]);
    dns.set("two.test", 60, [Record::Alias("one.test".to_owned())]);
    dns.set(
        "_ws._tcp.app.test",
        60,
        [
            service(1, 3, &apps[0], "one.test"),
            service(1, 1, &apps[1], "two.test"),
            service(2, 1, &apps[2], "one.test"),
        ],
    );
    dns.cut(true);
    let longwire = Longwire::start(&resolving(&dns, "", "app.test service=ws resolve"));
    let mut counts = [0; 3];
    for _ in 0..8 {
        let name = get(longwire.addr(), "/").1;
        counts[apps.iter().position(|app| app.name == name).unwrap()] += 1;
    }
    assert_eq!(counts, [6, 2, 0]);
    assert!(dns.over_tcp() > 0, "an answer that was cut is asked for over TCP");
    let mut apps = apps;
    let last = apps.pop().unwrap();
    drop(apps);
    until("the backup serves", || get(longwire.addr(), "/").1 == last.name);
}

#[test]
fn names_out_of_variables_go_through_the_resolver_and_are_remembered() {
    let dns = Dns::new();
    let apps = on_one_port(&[("a", "127.0.0.1"), ("b", "127.0.0.2")]);
    let port = apps[0].addr.port();
    dns.set("a.test", 1, [address("127.0.0.1")]);
    dns.set("b.test", 1, [address("127.0.0.2")]);
    let configuration = |valid: &str| {
        format!(
            "resolver {} {valid} ipv6=off;
             server {{ listen 127.0.0.1:0; location / {{ proxy_pass http://$arg_to:{port}; }} }}",
            dns.addr
        )
    };
    let longwire = Longwire::start(&configuration("valid=1h"));
    for _ in 0..3 {
        assert_eq!(get(longwire.addr(), "/?to=a.test").1, "a");
        assert_eq!(get(longwire.addr(), "/?to=b.test").1, "b");
    }
    assert_eq!(dns.questions(), 2, "each was asked for once");
    assert_eq!(get(longwire.addr(), "/?to=nobody.test").0.status(), 502);
    longwire.wait_log(&["nobody.test could not be resolved (Host not found)"]);

    // Without "valid" the time to live of the record counts.
    let longwire = Longwire::start(&configuration(""));
    assert_eq!(get(longwire.addr(), "/?to=a.test").1, "a");
    dns.set("a.test", 1, [address("127.0.0.2")]);
    until("the record is over", || get(longwire.addr(), "/?to=a.test").1 == "b");

    dns.silence(true);
    let longwire = Longwire::start(&configuration("").replace("server {", "resolver_timeout 1s; server {"));
    assert_eq!(get(longwire.addr(), "/?to=a.test").0.status(), 502);
    longwire.wait_log(&["a.test could not be resolved (Operation timed out)"]);
}
