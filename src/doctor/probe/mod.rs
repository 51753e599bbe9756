//! The prober: takes the road step by step and notes what it sees. It judges nothing.

mod chain;
pub mod dial;
pub mod exchange;
pub mod request;
pub mod road;
pub mod socket;

use std::time::Duration;

use tokio::time::Instant;

pub use dial::Dialer;
pub use request::Request;
pub use socket::{Event, WebSocket};

use super::facts::Facts;
use super::options::Options;
use super::sticky::packet;
use super::target::Target;

/// How long the whole may take, apart from what is asked to last (an idle run).
pub const WHOLE: Duration = Duration::from_millis(9_400);

/// The time that is left.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    began: Instant,
    step: Duration,
}

impl Budget {
    /// Begins now.
    pub fn new(options: &Options) -> Budget {
        Budget { began: Instant::now(), step: options.timeout }
    }

    /// How long a step may take that should take at most `most`.
    pub fn step(&self, most: Duration) -> Duration {
        most.min(self.step).min(self.left())
    }

    /// What is left of the whole.
    pub fn left(&self) -> Duration {
        WHOLE.saturating_sub(self.began.elapsed())
    }
}

/// Takes the road to a URL. Fails only on what the caller gave besides (a file of certificates that is none).
pub async fn collect(url: &str, options: &Options) -> Result<(Facts, Option<Dialer>), String> {
    let budget = Budget::new(options);
    let mut facts = Facts { url: url.to_owned(), insecure: options.insecure, ..Facts::default() };
    let dialer = match Target::parse(url) {
        Err(error) => {
            facts.url_error = Some(error);
            None
        }
        Ok(mut target) => {
            target.path = packet::handshake_path(&target.path);
            facts.target = Some(target.clone());
            walk(&target, options, budget, &mut facts).await?
        }
    };
    facts.elapsed_ms = budget.began.elapsed().as_millis() as u64;
    Ok((facts, dialer))
}

/// The steps, each of which needs the one before.
async fn walk(
    target: &Target,
    options: &Options,
    budget: Budget,
    facts: &mut Facts,
) -> Result<Option<Dialer>, String> {
    let Some(dialer) = road::reach(target, options, budget, facts).await? else { return Ok(None) };
    let request = Request::handshake(target, options);
    let (exchange, socket) = dialer.open(&request).await;
    facts.handshake = Some(exchange);
    if let Some(socket) = socket {
        socket.close(budget.step(Duration::from_millis(300))).await;
    }
    Ok(Some(dialer))
}
