//! Upgrades of the program under load: every tunnel goes over, and when anything goes wrong none is lost.
//!
//! The long forms, twenty upgrades with 2,000 tunnels and every failure by each of its ways:
//! `LONGWIRE_LONG=1 cargo test --release --test upgrade -- --nocapture --test-threads 1`, and without `--release` for the
//! failures, because only a debug build halts at a step.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::lineage::{Lineage, is_gone};
use support::traffic::{Plan, Traffic};
use support::{Folder, is_long, until};

/// Traffic through the first of a lineage.
fn started(plan: Plan, variables: &[(&str, &str)]) -> (Traffic, Lineage, String) {
    let mut traffic = Traffic::new(plan);
    let folder = Folder::new();
    let configuration = traffic.configuration(&folder, "pid DIR/longwire.pid;", "");
    let line = Lineage::start(folder, &configuration, variables);
    traffic.open(line.longwire.addr_on("127.0.0.1"), line.longwire.addr_on("127.0.0.2"));
    (traffic, line, configuration)
}

#[test]
fn every_tunnel_goes_over() {
    let (tunnels, upgrades) = if is_long() { (2000, 20) } else { (80, 3) };
    let every = Duration::from_millis(if is_long() { 500 } else { 100 });
    let (traffic, line, _) = started(Plan::mixed(tunnels, every, 50), &[]);
    let mut files = 0;
    for number in 1..=upgrades {
        // Some time as it is, so that a pause of this upgrade is one of this upgrade.
        let greeted = traffic.greeted();
        until("newcomers come", || traffic.greeted() >= greeted + 25);
        traffic.settle();
        println!("before upgrade {number}: {}", traffic.pauses());

        let upgraded = line.upgrade();
        traffic.settle();
        let pauses = traffic.pauses();
        println!(
            "upgrade {number}: {} tunnels went over, {:.0?} from the signal; {pauses}",
            upgraded.tunnels, upgraded.took
        );
        traffic.assert_well();
        assert!(upgraded.tunnels >= tunnels, "{} of {tunnels} went over at once", upgraded.tunnels);
        // The machine of a short test is busy with others, and the program is built without optimisation.
        let most = Duration::from_millis(if is_long() { 250 } else { 2000 });
        assert!(pauses.quantile(0.99) < most, "{pauses}");
        let handed_over = Instant::now();
        line.wait_gone(upgraded.before);
        assert!(handed_over.elapsed() < Duration::from_secs(10), "the old process stayed");
        assert_eq!(line.folder().read("longwire.pid").trim(), upgraded.now.to_string());
        if number == 1 {
            files = line.open_files();
        }
    }
    assert!(line.open_files() <= files + 60, "{files} open files have become {}", line.open_files());
    traffic.end().assert_well();
}

/// One way to fail: what stands in the program's place, and a word of what the error log says then.
struct Failure<'a> {
    script: &'a str,
    said: &'a str,
    /// The step at which the new process is killed.
    kill_at: Option<&'a str>,
}

/// Whatever becomes of the new process before it says that it runs: the old one goes on with every tunnel.
#[test]
fn when_an_upgrade_fails_no_tunnel_is_lost() {
    if !cfg!(debug_assertions) {
        println!("only a debug build halts at a step");
        return;
    }
    let steps = ["start", "hello", "state", "ready", "batch", "go"];
    let halts: Vec<String> =
        steps.iter().map(|step| format!("LONGWIRE_UPGRADE_HALT={step} exec PROGRAM \"$@\"")).collect();
    let mut failures = vec![
        Failure { script: "exit 1", said: "exit status: 1", kill_at: None },
        Failure { script: "exit 0", said: "exit status: 0", kill_at: None },
        Failure { script: "kill -9 $$", said: "signal: 9", kill_at: None },
        Failure { script: "echo nonsense >&0; exit 3", said: "exit status: 3", kill_at: None },
        // A program that is something else altogether, and hangs.
        Failure { script: "exec tail -f /dev/null", said: "did not answer", kill_at: None },
        Failure { script: "ulimit -n 40; exec PROGRAM \"$@\"", said: "limit of open files", kill_at: None },
        Failure { script: "ulimit -n 90; exec PROGRAM \"$@\"", said: "limit of open files", kill_at: None },
    ];
    for (step, halt) in steps.iter().zip(&halts) {
        failures.push(Failure { script: halt, said: "signal: 9", kill_at: Some(step) });
        if is_long() || *step == "go" {
            failures.push(Failure { script: halt, said: "did not answer", kill_at: None });
        }
    }
    let plan = Plan::mixed(60, Duration::from_millis(100), 20);
    let (traffic, line, configuration) = started(plan, &[("LONGWIRE_UPGRADE_PATIENCE", "3000")]);
    let pid = line.pid();
    for Failure { script, said, kill_at } in failures {
        line.put_script(script);
        let told = match kill_at {
            None => line.fail_upgrade(),
            Some(step) => {
                let from = line.longwire.log().len();
                let halted = line.ask_upgrade(&[&format!("upgrade halts at {step}"), "upgrade halts at"]);
                let new: i32 = halted.rsplit("process ").next().unwrap().trim().parse().unwrap();
                kill(Pid::from_raw(new), Signal::SIGKILL).unwrap();
                line.wait_said(from, &["upgrade failed", "tunnels handed over"])
            }
        };
        println!("{script}, killed at {kill_at:?}: {}", told.lines().last().unwrap_or_default());
        let failed =
            told.lines().find(|l| l.contains("upgrade failed")).unwrap_or_else(|| panic!("{script}: {told}"));
        assert!(failed.contains("[error]") && failed.contains(said), "{script}: {failed}");
        goes_on(&traffic, &line, pid);
    }
    // What it was started with is there, and the file is not what it should be.
    line.put_program();
    line.put_configuration("server {\n  listn 80;\n}");
    let told = line.fail_upgrade();
    assert!(told.contains("listn") && told.contains("longwire.conf:2"), "{told}");
    goes_on(&traffic, &line, pid);
    std::fs::remove_file(line.folder().path().join("longwire")).unwrap();
    let told = line.fail_upgrade();
    assert!(told.contains("No such file"), "{told}");
    goes_on(&traffic, &line, pid);
    // Nothing of all this has spoilt it for one that is good.
    line.put_program();
    line.put_configuration(&configuration);
    assert!(line.upgrade().tunnels >= 60);
    line.wait_gone(pid);
    traffic.settle();
    traffic.end().assert_well();
}

/// The old process serves as if nothing had been: its tunnels, newcomers, and no process beside it.
fn goes_on(traffic: &Traffic, line: &Lineage, pid: i32) {
    assert_eq!(line.pid(), pid);
    traffic.settle();
    let greeted = traffic.greeted();
    until("newcomers are served", || traffic.greeted() >= greeted + 3);
    traffic.assert_well();
    until("no process is left behind", || line.longwire.children() == 0);
    assert!(!is_gone(pid));
}
