//! Pure: the same examination through a proxy and past it, and at which of the two it breaks.

use serde::Serialize;

use super::facts::{Exchange, Facts, Outcome};
use super::idle::words::{brief, span};
use super::verdict::front::{self, telling};
use super::verdict::{Party, Report, Step, Verdict, refused};

/// Both roads.
#[derive(Serialize, Clone, Debug)]
pub struct Hops {
    /// Through the proxy, as users go.
    pub through: Box<Hop>,
    /// Past it, to the backend.
    pub direct: Box<Hop>,
    /// What is not the same.
    pub differences: Vec<Difference>,
}

/// One road.
#[derive(Serialize, Clone, Debug)]
pub struct Hop {
    /// What was made of it.
    #[serde(flatten)]
    pub report: Report,
    /// What was seen.
    pub facts: Facts,
}

/// Something that is not the same on both roads.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// What it is.
    pub what: String,
    /// Through the proxy.
    pub through: String,
    /// Directly.
    pub direct: String,
}

impl Hops {
    /// Compares two roads.
    pub fn new(through: Hop, direct: Hop) -> Hops {
        let differences = differences(&through.facts, &direct.facts);
        Hops { through: Box::new(through), direct: Box::new(direct), differences }
    }

    fn shown(&self) -> impl Iterator<Item = String> {
        self.differences
            .iter()
            .map(|one| format!("{}: {} through the proxy, {} directly", one.what, one.through, one.direct))
    }
}

/// What the two roads show together.
pub fn judge(facts: &Facts) -> Option<Verdict> {
    let hops = facts.hops.as_ref()?;
    let (through, direct) = (&hops.through.report.verdict, &hops.direct.report.verdict);
    Some(match (through.exit_status(), direct.exit_status()) {
        (0, 0) => sound(hops),
        (0, _) => {
            let more = format!("asked directly, it does not work: {}", direct.sentence);
            let mut verdict = sound(hops).seen(more);
            verdict.sentence =
                format!("{} Only the road past the proxy has a fault ({}).", through.sentence, direct.id);
            verdict
        }
        (_, 0) => breaks(hops),
        (_, 2) => {
            let more = format!("the backend could not be judged: {}", direct.sentence);
            Verdict { step: Step::Hops, ..through.clone() }.seen(more).seen_all(hops.shown())
        }
        _ => backend(hops),
    })
}

fn sound(hops: &Hops) -> Verdict {
    let sentence = format!(
        "Sound: through the proxy and directly. {}",
        if hops.differences.is_empty() { "Nothing differs." } else { "What differs breaks nothing." }
    );
    Verdict::new("sound", Party::None, Step::Hops, sentence).seen_all(hops.shown())
}

/// The backend is sound, and the proxy in front of it is not.
fn breaks(hops: &Hops) -> Verdict {
    let (through, direct) = (&hops.through, &hops.direct.report.verdict);
    let cause = &through.report.verdict;
    // What a sound backend is blamed for is the work of what stands before it.
    // So is a path at which there is nothing, where the backend has it at the same one.
    let path = |facts: &Facts| facts.handshake.as_ref().map(|handshake| handshake.path.clone());
    let elsewhere = cause.id == "wrong-path" && path(&through.facts) == path(&hops.direct.facts);
    let party = match cause.fault_of {
        Party::Client if elsewhere => Party::Proxy,
        Party::Server | Party::Unknown | Party::None => Party::Proxy,
        other => other,
    };
    let fixes = cause.fix.iter().filter(|fix| !elsewhere || fix.place != refused::CLIENT);
    let name = front::front(&through.facts).map_or("the proxy", |front| front.name());
    let sentence = format!(
        "It breaks between {name} and the backend, which is sound when it is asked directly. {}",
        cause.sentence
    );
    Verdict::new("hop-breaks", party, Step::Hops, sentence)
        .seen(format!("through the proxy: {} ({})", hops.through.facts.url, cause.id))
        .seen(format!("directly: {} ({})", hops.direct.facts.url, direct.id))
        .seen_all(hops.shown())
        .seen_all(cause.evidence.iter().cloned())
        .fixes(fixes.cloned())
}

/// Both roads have a fault: the backend's comes first, since the proxy passes it on.
fn backend(hops: &Hops) -> Verdict {
    let (through, direct) = (&hops.through.report.verdict, &hops.direct.report.verdict);
    let same = through.id == direct.id;
    let sentence = if same {
        format!("The backend has this fault itself, and the proxy only passes it on. {}", direct.sentence)
    } else {
        format!("The backend has a fault itself, whatever the proxy does. {}", direct.sentence)
    };
    let verdict = Verdict { step: Step::Hops, sentence, ..direct.clone() }.seen_all(hops.shown());
    if same {
        verdict
    } else {
        verdict.seen(format!("through the proxy it looks different ({}): {}", through.id, through.sentence))
    }
}

/// How one thing of an answer is shown.
type Shown = dyn Fn(&Exchange) -> Option<String>;

/// What differs between two roads.
fn differences(through: &Facts, direct: &Facts) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut compare = |what: &str, one: Option<String>, other: Option<String>| {
        if one != other {
            let shown = |text: Option<String>| text.unwrap_or_else(|| "nothing".into());
            found.push(Difference { what: what.to_owned(), through: shown(one), direct: shown(other) });
        }
    };
    let both = |show: &dyn Fn(&Facts) -> Option<String>| (show(through), show(direct));
    let answers: [(&str, &Shown); 7] = [
        ("answer to the handshake", &status),
        ("HTTP version", &|answer| answer.minor.map(|minor| format!("1.{minor}"))),
        ("fault of the 101", &|answer| answer.answer_fault.map(kebab)),
        ("Location", &|answer| answer.header("location").map(str::to_owned)),
        ("subprotocol", &|answer| answer.header("sec-websocket-protocol").map(str::to_owned)),
        ("extensions", &|answer| answer.header("sec-websocket-extensions").map(str::to_owned)),
        ("who answers", &|answer| Some(telling(answer).join(", ")).filter(|text| !text.is_empty())),
    ];
    for (what, show) in answers {
        let (one, other) = both(&|facts| facts.handshake.as_ref().and_then(show));
        compare(what, one, other);
    }
    let (one, other) =
        both(&|facts| facts.session.as_ref().map(|session| ended(session.closed_at_once.is_some())));
    compare("the open connection", one, other);
    for id in trials(through, direct) {
        let (one, other) = both(&|facts| facts.session.as_ref()?.trial(&id).map(|trial| came(trial.outcome)));
        compare(&format!("message \"{id}\""), one, other);
    }
    let (one, other) = both(&|facts| facts.idle.as_ref().map(brief));
    compare("held open", one, other);
    let took = |facts: &Facts| {
        facts.handshake.as_ref().filter(|answer| answer.status.is_some()).map(|answer| answer.ms)
    };
    if let (Some(one), Some(other)) = (took(through), took(direct))
        && one > other * 3 + 500
    {
        compare("time to the answer", Some(span(one)), Some(span(other)));
    }
    found
}

fn status(answer: &Exchange) -> Option<String> {
    let status = answer.status?;
    let reason = answer.reason.as_deref().unwrap_or_default();
    Some(format!("{status} {reason}").trim_end().to_owned())
}

fn ended(at_once: bool) -> String {
    if at_once { "ended at once" } else { "stays" }.to_owned()
}

/// A name as JSON has it.
fn kebab(value: impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn came(outcome: Outcome) -> String {
    match outcome {
        // How an application answers is no difference of the road.
        Outcome::Echoed | Outcome::Answered | Outcome::Passed => "arrives".into(),
        Outcome::Silent => "brings nothing back".into(),
        Outcome::Ended => "ends the connection".into(),
        Outcome::Broken => "comes back broken".into(),
    }
}

/// The trials that both roads had.
fn trials(through: &Facts, direct: &Facts) -> Vec<String> {
    let (Some(one), Some(other)) = (&through.session, &direct.session) else { return Vec::new() };
    one.trials.iter().filter(|trial| other.trial(&trial.id).is_some()).map(|trial| trial.id.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::verdict::Fix;

    fn hop(id: &'static str, party: Party, status: u16) -> Hop {
        let handshake = Some(Exchange { status: Some(status), minor: Some(1), ..Exchange::default() });
        let fix = Fix::new("nginx", "x");
        let verdict = Verdict::new(id, party, Step::Handshake, format!("It is {id}.")).fix(fix);
        let facts = Facts { url: format!("ws://{id}/"), handshake, ..Facts::default() };
        Hop { report: Report { verdict, also: Vec::new() }, facts }
    }

    fn judged(through: Hop, direct: Hop) -> Verdict {
        let facts = Facts { hops: Some(Hops::new(through, direct)), ..Facts::default() };
        judge(&facts).unwrap()
    }

    #[test]
    fn a_sound_backend_behind_a_fault_shows_where_it_breaks() {
        let verdict = judged(hop("upgrade-stripped", Party::Server, 400), hop("sound", Party::None, 101));
        assert_eq!((verdict.id, verdict.fault_of), ("hop-breaks", Party::Proxy));
        assert!(verdict.sentence.contains("It is upgrade-stripped."), "{}", verdict.sentence);
        let line = "answer to the handshake: 400 through the proxy, 101 directly";
        assert!(verdict.evidence.iter().any(|seen| seen == line), "{:?}", verdict.evidence);
        assert_eq!(verdict.fix[0].place, "nginx");
    }

    /// The client asks where the backend has its WebSocket: it is the proxy that asks elsewhere.
    #[test]
    fn a_path_that_the_proxy_cuts_is_no_fault_of_the_client() {
        let mut through = hop("wrong-path", Party::Client, 404);
        through.report.verdict.fix = vec![Fix::new(refused::CLIENT, "x"), Fix::new("the proxy", "y")];
        let verdict = judged(through.clone(), hop("sound", Party::None, 101));
        assert_eq!((verdict.id, verdict.fault_of), ("hop-breaks", Party::Proxy));
        assert_eq!(verdict.fix.iter().map(|fix| &*fix.place).collect::<Vec<_>>(), ["the proxy"]);
        let mut direct = hop("sound", Party::None, 101);
        direct.facts.handshake.as_mut().unwrap().path = "/other".to_owned();
        assert_eq!(judged(through, direct).fault_of, Party::Client);
    }

    #[test]
    fn a_backend_with_a_fault_of_its_own_is_named_first() {
        let verdict = judged(hop("backend-down", Party::Server, 502), hop("wrong-path", Party::Client, 404));
        assert_eq!(verdict.id, "wrong-path");
        assert!(verdict.evidence.iter().any(|seen| seen.contains("backend-down")));
        let verdict =
            judged(hop("origin-refused", Party::Server, 403), hop("origin-refused", Party::Server, 403));
        assert!(verdict.id == "origin-refused" && verdict.sentence.contains("passes it on"));
    }

    #[test]
    fn users_go_through_the_proxy() {
        assert_eq!(judged(hop("sound", Party::None, 101), hop("sound", Party::None, 101)).id, "sound");
        let verdict = judged(hop("sound", Party::None, 101), hop("host-refused", Party::Client, 403));
        assert_eq!(verdict.id, "sound");
        assert!(verdict.sentence.contains("host-refused"));
        let verdict =
            judged(hop("backend-down", Party::Server, 502), hop("could-not-tell", Party::Unknown, 500));
        assert_eq!(verdict.id, "backend-down");
    }
}
