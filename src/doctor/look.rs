//! Everything that is looked at for one command: one road or two, and what takes its time.

use tokio::time::{Instant, timeout};

use super::facts::Facts;
use super::hops::{Hop, Hops};
use super::idle::{self, Plan};
use super::options::{Options, Origin};
use super::probe::{self, Request};
use super::progress::Progress;
use super::sticky;
use super::target::Target;
use super::verdict::judge;

/// Looks at a URL, and at the road past the proxy when that was asked for.
pub async fn all(url: &str, options: &Options, progress: &Progress) -> Result<Facts, String> {
    let Some(direct) = &options.direct else { return one(url, options, progress).await };
    let began = Instant::now();
    let mut past = options.clone();
    if let (Origin::Own, Ok(target)) = (&options.origin, Target::parse(url)) {
        // A backend sees the origin of the site that users are on.
        past.origin = Origin::Is(target.origin());
    }
    let mute = Progress::mute();
    let (through, direct) = tokio::join!(one(url, options, progress), one(direct, &past, &mute));
    let hop = |facts: Facts| Hop { report: judge(&facts), facts };
    let hops = Hops::new(hop(through?), hop(direct?));
    let elapsed_ms = began.elapsed().as_millis() as u64;
    Ok(Facts { url: url.to_owned(), hops: Some(hops), elapsed_ms, ..Facts::default() })
}

/// Looks at one road.
async fn one(url: &str, options: &Options, progress: &Progress) -> Result<Facts, String> {
    let began = Instant::now();
    progress.show(&format!("asking {url}"));
    let (mut facts, dialer) = probe::collect(url, options).await?;
    if let Some(dialer) = dialer {
        let handshake = Request::handshake(&dialer.target, options);
        let page = Request::page(&dialer.target, options);
        // A server that answers nothing must not take longer than the whole may.
        let left = probe::WHOLE.saturating_sub(began.elapsed());
        facts.sticky = timeout(left, sticky::poll::run(&dialer, &page, &handshake)).await.ok().flatten();
        let opens = facts.handshake.as_ref().is_some_and(|answer| answer.is_open());
        let stays = facts.session.as_ref().is_none_or(|session| session.closed_at_once.is_none());
        if let (Some(asked), true) = (options.idle, opens && stays) {
            let plan = Plan::new(asked.as_millis() as u64, message(options, &handshake.path));
            facts.idle = Some(idle::hold::run(&dialer, &handshake, &plan, progress).await);
        }
    }
    progress.clear();
    facts.elapsed_ms = began.elapsed().as_millis() as u64;
    Ok(facts)
}

/// What a socket sends that is to be busy: something that most applications take or overlook.
fn message<'a>(options: &'a Options, path: &str) -> Option<&'a str> {
    let usual = match sticky::packet::version_of(path) {
        Some(4) => "3",
        Some(_) => "2",
        None => r#"{"type":"ping"}"#,
    };
    options.messages.then(|| options.message.as_deref().unwrap_or(usual))
}
