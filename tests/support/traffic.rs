//! Many tunnels whose ends exchange numbered messages and look at every byte, and newcomers while they do.
//!
//! Clients and backends are in this process, on two threads. A message says which tunnel, direction and place in the order it
//! belongs to, holds a hash of all before it, and a body that its receiver knows; so a lost, doubled, changed, exchanged
//! or misdirected byte is found by the message in which it happens. Writes are cut at random places, within headers, frames
//! and TLS records, and the rest comes some time later, so that at each moment many tunnels are in the middle of something.
//!
//! The time of a message is taken from its last piece to its arrival. Messages go out at random moments: of many
//! tunnels some speak just when a pause of the program begins, and the longest time of these is the pause.

pub mod cut;
pub mod end;
pub mod flow;
pub mod hello;
pub mod shim;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use tokio::sync::Notify;

use super::tls::Identity;
use super::{Folder, WAIT, until};
use end::End;
use flow::{Flow, direction};

/// How bytes travel on one leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leg {
    Plain,
    Tls12,
    Tls13,
}

impl Leg {
    pub const ALL: [Leg; 3] = [Leg::Plain, Leg::Tls12, Leg::Tls13];

    fn version(self) -> Option<&'static SupportedProtocolVersion> {
        match self {
            Leg::Plain => None,
            Leg::Tls12 => Some(&TLS12),
            Leg::Tls13 => Some(&TLS13),
        }
    }

    /// The first part of the path that leads to a backend by this leg.
    fn path(self) -> &'static str {
        match self {
            Leg::Plain => "/plain/",
            Leg::Tls12 => "/tls12/",
            Leg::Tls13 => "/tls13/",
        }
    }
}

/// What traffic there is to be.
#[derive(Debug, Clone)]
pub struct Plan {
    pub tunnels: usize,
    /// The time between two messages of one direction, on average.
    pub every: Duration,
    /// The longest time for which the rest of a frame, or of a record, is held back.
    pub hold: Duration,
    /// Legs of clients and of backends; tunnels take them in turn.
    pub clients: &'static [Leg],
    pub backends: &'static [Leg],
    /// New handshakes a second, beside the tunnels.
    pub newcomers: u32,
    pub seed: u64,
}

impl Plan {
    /// Half of the clients and half of the backends with TLS, of both versions and in all combinations.
    pub fn mixed(tunnels: usize, every: Duration, newcomers: u32) -> Plan {
        use Leg::{Plain, Tls12, Tls13};
        let (clients, backends) = (&[Plain, Tls12, Plain, Tls13][..], &[Plain, Tls13, Tls12][..]);
        Plan {
            tunnels,
            every,
            hold: Duration::from_millis(200),
            clients,
            backends,
            newcomers,
            seed: super::seed(),
        }
    }
}

/// Both directions of a tunnel.
pub struct Both {
    pub up: Flow,
    pub down: Flow,
}

/// What all ends share.
pub struct Shared {
    pub plan: Plan,
    pub tunnels: Vec<Both>,
    /// No more messages.
    quiet: AtomicBool,
    /// Every end closes, and may.
    closing: AtomicBool,
    opened: AtomicUsize,
    over: AtomicUsize,
    greeted: AtomicUsize,
    faults: Mutex<Vec<String>>,
    stop: Notify,
}

impl Shared {
    /// Something that must not be. All of it is told at the end.
    fn fault(&self, text: String) {
        self.faults.lock().unwrap().push(text);
    }
}

/// Traffic, from listening backends to the report.
pub struct Traffic {
    shared: Arc<Shared>,
    identity: Arc<Identity>,
    /// Where backends listen, one for each of [`Leg::ALL`].
    backends: [SocketAddr; 3],
    threads: Vec<JoinHandle<()>>,
}

/// What a program has to show for itself.
#[derive(Debug, Clone)]
pub struct Report {
    pub messages: u64,
    /// Newcomers that got their 101 and their echo.
    pub greeted: usize,
    pub faults: Vec<String>,
}

/// The longest time of a message, tunnel by tunnel, in order.
#[derive(Debug, Clone)]
pub struct Pauses(Vec<Duration>);

impl Pauses {
    /// The time that this share of the tunnels did not exceed, 0 to 1.
    pub fn quantile(&self, share: f64) -> Duration {
        let at = (self.0.len() as f64 * share) as usize;
        self.0[at.min(self.0.len() - 1)]
    }
}

impl std::fmt::Display for Pauses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |share| self.quantile(share).as_secs_f64() * 1000.0;
        write!(
            f,
            "longest pause of a tunnel, ms: p50 {:.1}, p99 {:.1}, max {:.1}",
            ms(0.5),
            ms(0.99),
            ms(1.0)
        )
    }
}

impl Traffic {
    /// Backends that listen; nobody speaks yet.
    pub fn new(plan: Plan) -> Traffic {
        let both = |n| Both { up: Flow::new(n, true), down: Flow::new(n, false) };
        let tunnels = (0..plan.tunnels as u32).map(both).collect();
        let (quiet, closing, opened, over) = Default::default();
        let (greeted, faults, stop) = Default::default();
        let shared = Arc::new(Shared { plan, tunnels, quiet, closing, opened, over, greeted, faults, stop });
        let identity = Arc::new(Identity::new(&["example.com"]));
        let (backends, thread) = hello::backends(&shared, &identity);
        Traffic { shared, identity, backends, threads: vec![thread] }
    }

    /// A configuration whose first server is plain, and the second, on 127.0.0.2, speaks TLS; `http` goes inside `http {}`.
    /// The certificate is put into the folder.
    pub fn configuration(&self, folder: &Folder, main: &str, http: &str) -> String {
        self.identity.write(folder, "site");
        let mut locations = String::new();
        for (leg, addr) in Leg::ALL.iter().zip(self.backends) {
            let scheme = if *leg == Leg::Plain { "http" } else { "https" };
            let _ = writeln!(locations, "location {} {{ proxy_pass {scheme}://{addr}; }}", leg.path());
        }
        format!(
            "{main}\nevents {{}}\nhttp {{\nproxy_ssl_protocols TLSv1.2 TLSv1.3;\n{http}\nserver {{ listen \
             127.0.0.1:0;\n{locations}}}\nserver {{ listen 127.0.0.2:0 ssl; ssl_certificate DIR/site.crt; \
             ssl_certificate_key DIR/site.key;\nssl_protocols TLSv1.2 TLSv1.3;\n{locations}}}\n}}\n"
        )
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Where the backends listen that are reached by this leg.
    pub fn backend(&self, leg: Leg) -> SocketAddr {
        self.backends[leg as usize]
    }

    /// Opens all tunnels through the program at these addresses, and waits for them; then the newcomers begin.
    pub fn open(&mut self, plain: SocketAddr, tls: SocketAddr) {
        self.threads.push(hello::clients(&self.shared, &self.identity, plain, tls));
        let wanted = self.shared.plan.tunnels;
        let bound = WAIT + Duration::from_millis(60) * wanted as u32;
        self.wait("all tunnels are open", bound, |shared| shared.opened.load(SeqCst) == wanted);
    }

    /// Waits until all that was begun before this call has arrived: whatever happened, no tunnel stands still.
    pub fn settle(&self) {
        let begun: Vec<[u64; 2]> =
            self.shared.tunnels.iter().map(|t| [t.up.begun(), t.down.begun()]).collect();
        let there = |(both, begun): (&Both, &[u64; 2])| {
            both.up.received() >= begun[0] && both.down.received() >= begun[1]
        };
        self.wait("all messages have arrived", WAIT, |shared| shared.tunnels.iter().zip(&begun).all(there));
    }

    /// The longest times since the last call, or since the beginning.
    pub fn pauses(&self) -> Pauses {
        let longest =
            |both: &Both| Duration::from_micros(both.up.take_longest().max(both.down.take_longest()));
        let mut all: Vec<Duration> = self.shared.tunnels.iter().map(longest).collect();
        all.sort_unstable();
        Pauses(all)
    }

    /// Messages that have arrived so far.
    pub fn received(&self) -> u64 {
        self.shared.tunnels.iter().map(|both| both.up.received() + both.down.received()).sum()
    }

    /// Newcomers so far that got their 101 and their echo.
    pub fn greeted(&self) -> usize {
        self.shared.greeted.load(SeqCst)
    }

    /// What is wrong so far.
    pub fn faults(&self) -> Vec<String> {
        self.shared.faults.lock().unwrap().clone()
    }

    /// Fails if anything is wrong so far.
    pub fn assert_well(&self) {
        let faults = self.faults();
        assert!(faults.is_empty(), "{}", told(&faults));
    }

    /// Ends the traffic in order, and tells all that was wrong.
    pub fn end(mut self) -> Report {
        self.shared.quiet.store(true, SeqCst);
        let arrived =
            |both: &Both| both.up.received() == both.up.begun() && both.down.received() == both.down.begun();
        if !self.look(WAIT, |shared| shared.tunnels.iter().all(arrived)) && self.faults().is_empty() {
            self.count_missing();
        }
        self.shared.closing.store(true, SeqCst);
        let ends = 2 * self.shared.opened.load(SeqCst);
        if !self.look(WAIT, |shared| shared.over.load(SeqCst) == ends) && self.faults().is_empty() {
            let over = self.shared.over.load(SeqCst);
            self.shared.fault(format!("{over} of {ends} ends were closed in time"));
        }
        // What the ends say of each other's haste from here on is no fault of the program.
        let faults = self.faults();
        self.shared.stop.notify_waiters();
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
        Report { messages: self.received(), greeted: self.greeted(), faults }
    }

    /// Notes which directions lack messages.
    fn count_missing(&self) {
        for (number, both) in self.shared.tunnels.iter().enumerate() {
            for (up, flow) in [(true, &both.up), (false, &both.down)] {
                let (begun, received) = (flow.begun(), flow.received());
                if begun != received {
                    let way = direction(up);
                    self.shared
                        .fault(format!("tunnel {number}, {way}: {begun} messages sent, {received} received"));
                }
            }
        }
    }

    /// Waits for what the traffic cannot do without.
    fn wait(&self, what: &str, bound: Duration, holds: impl Fn(&Shared) -> bool) {
        let held = self.look(bound, holds);
        let faults = self.faults();
        assert!(held && faults.is_empty(), "{what}: {held}, within {bound:?}; {}", told(&faults));
    }

    /// Waits until something holds, or a fault makes that hopeless.
    fn look(&self, bound: Duration, holds: impl Fn(&Shared) -> bool) -> bool {
        let end = Instant::now() + bound;
        while !holds(&self.shared) {
            if Instant::now() > end || !self.shared.faults.lock().unwrap().is_empty() {
                return holds(&self.shared);
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        true
    }
}

impl Report {
    /// Fails if anything was wrong; prints the sums otherwise.
    pub fn assert_well(&self) {
        assert!(self.faults.is_empty(), "{}", told(&self.faults));
        println!(
            "{} messages arrived, once and in order; {} newcomers were served",
            self.messages, self.greeted
        );
    }
}

fn told(faults: &[String]) -> String {
    let first: Vec<&str> = faults.iter().take(20).map(String::as_str).collect();
    format!("{} faults\n  {}", faults.len(), first.join("\n  "))
}
