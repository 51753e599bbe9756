//! What the crowd does, and what comes of it.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use longwire_wire::frame::OpCode;

use crate::args::{Kind, Options};
use crate::crowd::{Crowd, Event, What};
use crate::frames::client_frame;
use crate::histogram::Histogram;

/// Connections that are being opened at a time.
const OPENING: usize = 64;
/// How long opening all of them, or the last answers, may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long open-loop answers may take after the last message was sent.
const STRAGGLERS_NS: u64 = 5_000_000_000;

/// What was counted.
#[derive(Default)]
struct Outcome {
    times: Histogram,
    /// The same by spans of `--every`.
    spans: Vec<Histogram>,
    sent: u64,
    failed: u64,
    resumed: u64,
    seconds: f64,
}

/// Runs the scenario and prints its result.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let result = attempt(options).map_err(|error| format!("{}: {error}", options.url.host))?;
    print(options, &result);
    Ok(())
}

fn attempt(options: &Options) -> io::Result<Outcome> {
    let mut crowd = Crowd::new(options)?;
    if options.kind == Kind::Handshakes {
        ready(&mut crowd, options)?;
        return handshakes(&mut crowd, options);
    }
    open_all(&mut crowd, options.connections)?;
    ready(&mut crowd, options)?;
    match options.kind {
        Kind::Idle => idle(&mut crowd, options),
        _ if options.rate > 0.0 => Open::new(crowd, options).run(),
        _ => closed_loop(&mut crowd, options),
    }
}

/// Opens all connections, some at a time.
fn open_all(crowd: &mut Crowd, wanted: usize) -> io::Result<()> {
    let until = crowd.now() + PATIENCE.as_nanos() as u64;
    let (mut begun, mut opened) = (0, 0);
    while opened < wanted {
        while begun < wanted && begun - opened < OPENING {
            crowd.open(begun)?;
            begun += 1;
        }
        let happened = crowd.turn(Duration::from_millis(100))?;
        for event in &happened {
            match event.what {
                What::Opened => opened += 1,
                What::Closed => {
                    return Err(io::Error::other(format!("connection {} was not opened", event.who)));
                }
                What::Message | What::Told => {}
            }
        }
        crowd.recycle(happened);
        if crowd.now() > until {
            return Err(io::Error::other(format!("only {opened} of {wanted} connections opened")));
        }
    }
    eprintln!("longwire-load: {opened} connections are open");
    Ok(())
}

/// Says that all is open, and waits to be told.
fn ready(crowd: &mut Crowd, options: &Options) -> io::Result<()> {
    if options.hold {
        println!("ready");
        let until = crowd.now() + PATIENCE.as_nanos() as u64;
        while crowd.now() < until {
            let happened = crowd.turn(Duration::from_secs(1))?;
            let told = happened.iter().any(|event| event.what == What::Told);
            crowd.recycle(happened);
            if told {
                // The line is taken away, or a later turn sees it again.
                io::stdin().read_line(&mut String::new())?;
                break;
            }
        }
    }
    Ok(())
}

fn idle(crowd: &mut Crowd, options: &Options) -> io::Result<Outcome> {
    let mut result = Outcome::default();
    let begun = crowd.now();
    while crowd.now() - begun < options.time.as_nanos() as u64 {
        let happened = crowd.turn(Duration::from_millis(100))?;
        result.failed += happened.iter().filter(|event| event.what == What::Closed).count() as u64;
        crowd.recycle(happened);
    }
    result.seconds = (crowd.now() - begun) as f64 / 1e9;
    Ok(result)
}

/// Each connection sends its next message once the last one has come back.
fn closed_loop(crowd: &mut Crowd, options: &Options) -> io::Result<Outcome> {
    let message = client_frame(OpCode::Binary, &vec![0x61; options.size]);
    let mut result = Outcome::default();
    let mut sent_at = vec![0; options.connections];
    let begun = crowd.now();
    let until = begun + options.time.as_nanos() as u64;
    let more = |crowd: &mut Crowd, who: usize, result: &mut Outcome| {
        let at = crowd.now();
        if at < until && result.sent < options.count {
            result.sent += 1;
            crowd.send(who, &message);
        }
        at
    };
    for (who, at) in sent_at.iter_mut().enumerate() {
        *at = more(crowd, who, &mut result);
    }
    while result.times.count() + result.failed < result.sent && crowd.now() < until + STRAGGLERS_NS {
        let happened = crowd.turn(Duration::from_millis(100))?;
        for Event { who, what, at } in &happened {
            match what {
                What::Message => {
                    result.times.add(at.saturating_sub(sent_at[*who]));
                    sent_at[*who] = more(crowd, *who, &mut result);
                }
                What::Closed => result.failed += 1,
                What::Opened | What::Told => {}
            }
        }
        crowd.recycle(happened);
    }
    result.seconds = (crowd.now() - begun) as f64 / 1e9;
    Ok(result)
}

/// An open loop: messages go out by the clock, and a time counts from when its message was to be sent.
struct Open<'a> {
    crowd: Crowd,
    options: &'a Options,
    begun: u64,
    message: Vec<u8>,
    result: Outcome,
    /// When the messages of a connection that are under way were to be sent.
    under_way: Vec<VecDeque<u64>>,
    /// Messages that are still to come back.
    expected: u64,
}

impl Open<'_> {
    fn new(crowd: Crowd, options: &Options) -> Open<'_> {
        let message = client_frame(OpCode::Binary, &vec![0x61; options.size]);
        let under_way = vec![VecDeque::new(); options.connections];
        Open {
            begun: crowd.now(),
            crowd,
            options,
            message,
            result: Outcome::default(),
            under_way,
            expected: 0,
        }
    }

    fn run(mut self) -> io::Result<Outcome> {
        let begun = self.begun;
        let rounds = (self.options.rate * self.options.time.as_secs_f64()) as u64;
        let rounds = rounds.min(self.options.count);
        let due = |round: u64| begun + (round as f64 * 1e9 / self.options.rate) as u64;
        let until = due(rounds) + STRAGGLERS_NS;
        let mut round = 0;
        while round < rounds || self.expected > 0 {
            let now = self.crowd.now();
            if now > until {
                break;
            }
            while round < rounds && due(round) <= now {
                self.send(round, due(round));
                round += 1;
            }
            let next = if round < rounds { due(round) } else { until };
            let happened = self.crowd.turn(Duration::from_nanos(next.saturating_sub(now)))?;
            happened.iter().for_each(|event| self.note(event));
            self.crowd.recycle(happened);
        }
        self.result.seconds = (self.crowd.now() - begun) as f64 / 1e9;
        self.result.failed += self.expected;
        Ok(self.result)
    }

    /// Sends what a round sends.
    fn send(&mut self, round: u64, due: u64) {
        let all = self.options.connections;
        match self.options.kind {
            Kind::Burst => (0..all).for_each(|who| self.send_one(who, due)),
            Kind::Broadcast => {
                self.under_way.iter_mut().for_each(|times| times.push_back(due));
                self.expected += all as u64;
                self.result.sent += 1;
                self.crowd.send(0, &self.message);
            }
            _ => self.send_one(round as usize % all, due),
        }
    }

    fn send_one(&mut self, who: usize, due: u64) {
        self.under_way[who].push_back(due);
        self.expected += 1;
        self.result.sent += 1;
        self.crowd.send(who, &self.message);
    }

    fn note(&mut self, event: &Event) {
        match event.what {
            What::Message => {
                if let Some(due) = self.under_way[event.who].pop_front() {
                    self.expected -= 1;
                    let took = event.at.saturating_sub(due);
                    self.result.times.add(took);
                    if let Some(every) = self.options.every {
                        let span = (due - self.begun) / every.as_nanos().max(1) as u64;
                        let spans = &mut self.result.spans;
                        spans.resize_with(spans.len().max(span as usize + 1), Histogram::default);
                        spans[span as usize].add(took);
                    }
                }
            }
            What::Closed => {
                let lost = self.under_way[event.who].drain(..).count() as u64;
                self.expected -= lost;
                self.result.failed += lost;
            }
            What::Opened | What::Told => {}
        }
    }
}

/// Opens and leaves, again and again, with so many on their way at a time.
fn handshakes(crowd: &mut Crowd, options: &Options) -> io::Result<Outcome> {
    let mut result = Outcome::default();
    let begun = crowd.now();
    let until = begun + options.time.as_nanos() as u64;
    let width = options.connections.min(options.count as usize);
    for who in 0..width {
        crowd.open(who)?;
        result.sent += 1;
    }
    while result.times.count() + result.failed < result.sent && crowd.now() < until + STRAGGLERS_NS {
        let happened = crowd.turn(Duration::from_millis(100))?;
        for Event { who, what, at } in &happened {
            match what {
                What::Opened => {
                    result.times.add(at.saturating_sub(crowd.began(*who)));
                    result.resumed += u64::from(crowd.resumed(*who));
                    crowd.leave(*who);
                }
                What::Closed => result.failed += 1,
                What::Message | What::Told => continue,
            }
            if result.sent < options.count && crowd.now() < until {
                crowd.open(*who)?;
                result.sent += 1;
            }
        }
        crowd.recycle(happened);
    }
    result.seconds = (crowd.now() - begun) as f64 / 1e9;
    Ok(result)
}

fn print(options: &Options, result: &Outcome) {
    let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| result.times.percentile_us(share));
    let (count, Outcome { failed, resumed, seconds, .. }) = (result.times.count(), result);
    let rate = count as f64 / seconds.max(1e-9);
    if options.json {
        let spans: Vec<_> = result.spans.iter().map(span_json).collect();
        println!(
            "{{\"scenario\":\"{:?}\",\"connections\":{},\"size\":{},\"count\":{count},\"failed\":{failed},\
             \"resumed\":{resumed},\"seconds\":{seconds:.3},\"rate\":{rate:.1},\
             \"p50_us\":{p50:.1},\"p99_us\":{p99:.1},\"p999_us\":{p999:.1},\"spans\":[{}]}}",
            options.kind,
            options.connections,
            options.size,
            spans.join(",")
        );
    } else {
        println!(
            "{:?}: {count} in {seconds:.2} s ({rate:.0} a second), {failed} failed, {resumed} resumed; \
             p50 {p50:.0} us, p99 {p99:.0} us, p99.9 {p999:.0} us",
            options.kind
        );
    }
}

fn span_json(times: &Histogram) -> String {
    let buckets: Vec<_> = times.buckets_us().map(|(us, count)| format!("[{us:.1},{count}]")).collect();
    format!("[{}]", buckets.join(","))
}
