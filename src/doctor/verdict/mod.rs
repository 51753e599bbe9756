//! Pure: what the facts mean: which step breaks, whose fault that is, and what to write where.

mod answer;
mod changed;
pub mod front;
mod messages;
mod notes;
mod redirect;
pub mod refused;
mod remedy;
mod road;
mod said;
mod stripped;
pub mod table;
mod unanswered;

use serde::Serialize;

use super::facts::Facts;
use super::{hops, idle, sticky};

/// What was found out.
#[derive(Serialize, Clone, Debug)]
pub struct Report {
    /// The answer.
    pub verdict: Verdict,
    /// What else is worth knowing; it breaks nothing.
    pub also: Vec<Verdict>,
}

/// One finding.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// Its name in the table.
    pub id: &'static str,
    /// Who has to act.
    pub fault_of: Party,
    /// Where on the road it is.
    pub step: Step,
    /// The answer in one sentence.
    pub sentence: String,
    /// What shows it.
    pub evidence: Vec<String>,
    /// What to do.
    pub fix: Vec<Fix>,
}

/// Who has to act.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Party {
    /// Nobody.
    None,
    /// Whoever gave the URL, or wrote the page that uses it.
    Client,
    /// The WebSocket server, or its application.
    Server,
    /// What stands before the server: a proxy, a load balancer, a CDN.
    Proxy,
    /// The network between, a firewall among it.
    Network,
    /// The certificate, or how the server shows it.
    Certificate,
    /// The name, or its servers.
    Dns,
    /// That cannot be told.
    Unknown,
}

impl Party {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Party::None => "nobody",
            Party::Client => "the client",
            Party::Server => "the server, or its application",
            Party::Proxy => "the proxy in front of the server",
            Party::Network => "the network",
            Party::Certificate => "the certificate",
            Party::Dns => "DNS",
            Party::Unknown => "unknown",
        }
    }
}

/// The steps of the road.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// Reading the URL.
    Url,
    /// Looking the name up.
    Dns,
    /// Connecting.
    Tcp,
    /// TLS.
    Tls,
    /// Asking for a WebSocket.
    Handshake,
    /// Checking the 101.
    Answer,
    /// What goes over the connection.
    Messages,
    /// Several requests that belong together.
    Stickiness,
    /// Proxy and backend compared.
    Hops,
    /// A connection that lasts.
    Idle,
}

/// What to do, and where.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct Fix {
    /// The program or the place that it is for.
    #[serde(rename = "where")]
    pub place: String,
    /// What to do there.
    pub what: String,
    /// What to write, line by line.
    pub lines: Vec<String>,
}

impl Fix {
    /// What to do, without lines to write.
    pub fn new(place: &str, what: impl Into<String>) -> Fix {
        Fix { place: place.to_owned(), what: what.into(), lines: Vec::new() }
    }

    /// With what to write.
    pub fn lines(mut self, text: &str) -> Fix {
        self.lines = text.lines().map(str::to_owned).collect();
        self
    }
}

impl Verdict {
    /// A finding of the table, by its id.
    pub fn new(id: &'static str, fault_of: Party, step: Step, sentence: impl Into<String>) -> Verdict {
        debug_assert!(table::VERDICTS.iter().chain(table::NOTES).any(|(known, _)| *known == id), "{id}");
        Verdict { id, fault_of, step, sentence: sentence.into(), evidence: Vec::new(), fix: Vec::new() }
    }

    /// With one more line of evidence.
    pub fn seen(mut self, line: impl Into<String>) -> Verdict {
        self.evidence.push(line.into());
        self
    }

    /// With more lines of evidence.
    pub fn seen_all(mut self, lines: impl IntoIterator<Item = String>) -> Verdict {
        self.evidence.extend(lines);
        self
    }

    /// With one more thing to do.
    pub fn fix(mut self, fix: Fix) -> Verdict {
        self.fix.push(fix);
        self
    }

    /// With more things to do.
    pub fn fixes(mut self, fixes: impl IntoIterator<Item = Fix>) -> Verdict {
        self.fix.extend(fixes);
        self
    }

    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.id == "sound"
    }

    /// 0 sound, 1 a fault, 2 it cannot be told.
    pub fn exit_status(&self) -> u8 {
        match self.id {
            "sound" => 0,
            "could-not-tell" | "url-invalid" => 2,
            _ => 1,
        }
    }
}

/// Asked in the order of the road; the first that has an answer has the answer.
const JUDGES: &[fn(&Facts) -> Option<Verdict>] = &[
    hops::judge,
    road::judge,
    sticky::judge::version,
    refused::judge,
    answer::judge,
    messages::judge,
    sticky::judge::judge,
    idle::words::judge,
    road::http2,
    changed::of_another_browser,
    road::dead_address,
];

/// What the facts mean.
pub fn judge(facts: &Facts) -> Report {
    let verdict = JUDGES.iter().find_map(|judge| judge(facts)).unwrap_or_else(|| sound(facts));
    let also = notes::of(facts).into_iter().chain(sticky::judge::note(facts)).collect();
    Report { verdict, also }
}

/// Nothing was found.
fn sound(facts: &Facts) -> Verdict {
    let Some(handshake) = facts.handshake.as_ref().filter(|handshake| handshake.is_open()) else {
        let sentence = "What was seen fits no fault that is known here.";
        return Verdict::new("could-not-tell", Party::Unknown, Step::Handshake, sentence);
    };
    let target = facts.target.as_ref().map(ToString::to_string).unwrap_or_default();
    let sentence = format!(
        "Sound: {target} opens a WebSocket in {} ms, and what was tried over it works.",
        handshake.ms
    );
    let verdict = Verdict::new("sound", Party::None, Step::Handshake, sentence)
        .seen_all(facts.addresses.iter().map(road::knocked))
        .seen_all(facts.tls.as_ref().map(road::spoken))
        .seen(format!("the handshake: {}", answer::shown(handshake)))
        .seen_all(facts.idle.as_ref().map(idle::words::kept));
    let Some(session) = &facts.session else { return verdict };
    let agreed = [("subprotocol", &session.subprotocol), ("extensions", &session.extensions)];
    let agreed =
        agreed.into_iter().filter_map(|(name, value)| Some(format!("{name}: {}", value.as_deref()?)));
    let tried: Vec<String> = session.trials.iter().map(messages::tried).collect();
    verdict.seen_all(agreed).seen_all((!tried.is_empty()).then(|| tried.join("; ")))
}

#[cfg(test)]
mod tests;
