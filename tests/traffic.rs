//! The traffic by which other tests judge the program: it passes through, and it notices whatever goes wrong.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use support::traffic::shim::{Shim, Spoil};
use support::traffic::{Leg, Plan, Traffic};
use support::{Folder, Longwire, until};

/// The program between the ends of this traffic.
fn program(traffic: &Traffic) -> Longwire {
    let folder = Folder::new();
    let configuration = traffic.configuration(&folder, "", "");
    Longwire::start_in(folder, &configuration, &[])
}

/// All legs with TLS 1.2, 1.3 and without, whatever is cut.
#[test]
fn every_message_passes() {
    let clients = &[Leg::Plain, Leg::Tls12, Leg::Tls13];
    let every = Duration::from_millis(100);
    let plan = Plan { clients, backends: clients, ..Plan::mixed(90, every, 30) };
    let mut traffic = Traffic::new(plan);
    let longwire = program(&traffic);
    traffic.open(longwire.addr_on("127.0.0.1"), longwire.addr_on("127.0.0.2"));
    until("some newcomers were served", || traffic.greeted() >= 60);
    traffic.settle();
    println!("{}", traffic.pauses());
    let report = traffic.end();
    report.assert_well();
    assert!(report.messages > 1000, "{} messages", report.messages);
}

/// Through a go-between that spoils one frame: waits until the traffic has found what is told, and gives all that it found.
fn spoilt(spoil: Spoil, from_client: bool, told: &str) -> String {
    let plain = &[Leg::Plain];
    let every = Duration::from_millis(20);
    let plan = Plan { clients: plain, backends: plain, hold: every, ..Plan::mixed(4, every, 0) };
    let mut traffic = Traffic::new(plan);
    let longwire = program(&traffic);
    let shim = Shim::new(longwire.addr_on("127.0.0.1"), spoil, from_client);
    traffic.open(shim.addr, shim.addr);
    until("something has passed", || traffic.received() > 100);
    shim.spoil();
    if told.is_empty() {
        until("more has passed", || traffic.received() > 400);
    } else {
        until(told, || traffic.faults().join("\n").contains(told));
    }
    if let Spoil::Pause(time) = spoil {
        let longest = traffic.pauses().quantile(1.0);
        assert!(longest > time.mul_f32(0.8), "{longest:?} of {time:?}");
    }
    traffic.end().faults.join("\n")
}

#[test]
fn nothing_that_is_lost_or_spoilt_goes_unnoticed() {
    let pause = Duration::from_millis(300);
    let cases = [
        (Spoil::Nothing, ""),
        (Spoil::Pause(pause), ""),
        (Spoil::LoseFrame, "did not come"),
        (Spoil::DoubleFrame, "once more"),
        (Spoil::SwapFrames, "did not come"),
        (Spoil::LoseByte, "bytes of its"),
        (Spoil::DoubleByte, "bytes of its"),
        (Spoil::SwapBytes, "is another"),
        (Spoil::FlipBit, "is another"),
        (Spoil::Misdirect, "a message of tunnel"),
        (Spoil::End, "no Close came"),
        (Spoil::Close, "nobody was to close"),
    ];
    std::thread::scope(|scope| {
        for (spoil, told) in cases {
            scope.spawn(move || {
                for from_client in [true, false] {
                    let faults = spoilt(spoil, from_client, told);
                    let case = format!("{spoil:?}, from the client {from_client}: {faults}");
                    assert_eq!(faults.is_empty(), told.is_empty(), "{case}");
                }
            });
        }
    });
}
