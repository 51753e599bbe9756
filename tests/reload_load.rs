//! Reloads under load: tunnels that talk and newcomers notice none of them, and nothing piles up.
//!
//! The long form, a thousand reloads over 2,000 tunnels:
//! `LONGWIRE_LONG=1 cargo test --release --test reload_load -- --nocapture`
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use support::traffic::{Plan, Traffic};
use support::{Folder, Longwire, is_long, until};

/// A configuration that is another one each time, with something of each kind that a snapshot holds.
fn generation(number: usize) -> String {
    let servers: String = (0..20).map(|n| format!("server 127.0.0.1:{}; ", 9000 + n)).collect();
    format!(
        "map $host $known {{ default {number}; *.example.com 1; }}\nlimit_conn_zone $binary_remote_addr \
         zone=clients:1m;\nupstream others {{ least_conn; {servers} }}\nadd_header X-Generation {number} always;\n\
         limit_conn clients 60000;\n"
    )
}

#[test]
fn nobody_notices_a_reload() {
    let (tunnels, reloads, warm) = if is_long() { (2000, 1000, 200) } else { (60, 100, 100) };
    let mut traffic = Traffic::new(Plan::mixed(tunnels, Duration::from_millis(500), 50));
    let folder = Folder::new();
    let configuration =
        |traffic: &Traffic, folder: &Folder, n| traffic.configuration(folder, "", &generation(n));
    let first = configuration(&traffic, &folder, 0);
    let longwire = Longwire::start_in(folder, &first, &[]);
    traffic.open(longwire.addr_on("127.0.0.1"), longwire.addr_on("127.0.0.2"));

    let mut memory = Vec::new();
    let (mut files, mut threads) = (0, 0);
    let began = std::time::Instant::now();
    for number in 1..=warm + reloads {
        let said = longwire.reload(&configuration(&traffic, longwire.folder(), number));
        assert!(said.contains("reload done"), "{said}");
        if is_long() {
            until("a newcomer was served for each reload", || traffic.greeted() >= number);
        }
        traffic.assert_well();
        memory.push(longwire.memory_kib());
        if number == warm {
            (files, threads) = (longwire.open_files(), longwire.threads());
            traffic.pauses();
        }
    }
    let took = began.elapsed();
    traffic.settle();
    println!("{} reloads in {took:.1?} over {tunnels} tunnels; {}", warm + reloads, traffic.pauses());

    let course: Vec<i64> = memory.iter().step_by(memory.len() / 12).copied().collect();
    println!("memory in its course, KiB: {course:?}");
    let typical = |samples: &[i64]| {
        let mut samples = samples.to_vec();
        samples.sort_unstable();
        samples[samples.len() / 2]
    };
    let (before, after) = (typical(&memory[warm - 50..warm]), typical(&memory[memory.len() - 50..]));
    println!(
        "memory: {before} KiB after {warm} reloads, {after} KiB at the end; {threads} threads, {files} files"
    );
    // With few tunnels the whole is so small that the allocator's own habits weigh more than a twentieth.
    let more = if is_long() { before / 20 } else { 2048 };
    assert!(after <= before + more, "{before} KiB have become {after} KiB");
    // Newcomers come and go; what a generation holds does not stay.
    assert!(longwire.open_files() <= files + 60, "{files} open files have become {}", longwire.open_files());
    assert!(longwire.threads() <= threads + 2, "{threads} threads have become {}", longwire.threads());
    assert_eq!(longwire.children(), 0, "one process");
    traffic.end().assert_well();
}
