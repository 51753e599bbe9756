//! Pure: handshakes that are answered with a redirect. Browsers follow none.

use super::answer::shown;
use super::refused::{evidence, make};
use super::{Fix, Party, Verdict};
use crate::doctor::facts::{Exchange, Facts};
use crate::doctor::target::Target;

/// Words in paths of pages where one logs in.
const LOGIN: [&str; 9] =
    ["login", "signin", "sign_in", "sign-in", "auth", "sso", "oauth", "session/new", "saml"];

/// Where it leads, and why.
pub(super) fn judge(facts: &Facts, handshake: &Exchange, target: &Target) -> Option<Verdict> {
    let status = handshake.status.filter(|status| (300..400).contains(status))?;
    let location = handshake.header("location")?;
    let chain = facts.redirects.iter().map(|hop| {
        let answer = hop.answer.as_ref().map_or("not asked again".into(), shown);
        format!("{} leads to {}: {answer}", hop.status, hop.url)
    });
    let to = target.join(location).ok();
    let verdict = to.map_or_else(
        || elsewhere(location, status),
        |to| {
            // A page for logging in sends handshakes to itself as well.
            if is_loop(facts) && !is_login(target, &to) {
                looping(&to)
            } else {
                named(target, &to, location, status)
            }
        },
    );
    Some(verdict.seen_all(evidence(handshake)).seen(format!("Location: {location}")).seen_all(chain))
}

/// Whether following led back to where it had been.
fn is_loop(facts: &Facts) -> bool {
    facts.redirects.last().is_some_and(|hop| {
        let known = facts.target.as_ref().map(ToString::to_string);
        let before = facts.redirects.iter().filter(|other| other.url == hop.url).count();
        hop.answer.is_none() && (known.as_deref() == Some(hop.url.as_str()) || before > 1)
    })
}

/// Whether it leads to where one logs in. A path that has such a word in it already says nothing by that.
fn is_login(from: &Target, to: &Target) -> bool {
    let has = |target: &Target, word: &str| target.bare_path().to_ascii_lowercase().contains(word);
    LOGIN.iter().any(|word| has(to, word) && !has(from, word))
}

fn named(from: &Target, to: &Target, location: &str, status: u16) -> Verdict {
    if is_login(from, to) {
        return make(
            "redirect-login",
            Party::Client,
            format!("The handshake is sent to a login page ({status}): whoever asks is not logged in."),
        )
        .fix(Fix::new(
            "the page or the client",
            "Log in first; the session's cookie must go with the handshake (same site, or SameSite=None; Secure). Here: \
             --cookie 'session=...'.",
        ))
        .fix(Fix::new("the server", "Answer handshakes with 401 instead of a redirect: no browser follows one."));
    }
    let same_host = to.host.eq_ignore_ascii_case(&from.host);
    if to.secure && !from.secure && same_host {
        return make(
            "redirect-to-https",
            Party::Client,
            format!("The plain port sends everything to https ({status}), and browsers follow no redirect of a WebSocket."),
        )
        .fix(Fix::new("the page or the client", "Use wss from the start.").lines(&to.to_string()));
    }
    let (here, there) = (from.bare_path(), to.bare_path());
    if same_host && to.secure == from.secure && (format!("{here}/") == there || here == format!("{there}/")) {
        return make(
            "redirect-slash",
            Party::Client,
            format!("The path differs by a slash at its end ({status} from {here} to {there}), and browsers follow no redirect of a WebSocket."),
        )
        .fix(Fix::new("the page or the client", "Write the path as the server has it.").lines(&to.to_string()))
        .fix(
            Fix::new("nginx", "Or let the location take both: without the slash at its end it is a prefix of either.")
                .lines(&format!("location {} {{ ... }}", here.trim_end_matches('/'))),
        );
    }
    elsewhere(location, status)
}

fn elsewhere(location: &str, status: u16) -> Verdict {
    make(
        "redirect-elsewhere",
        Party::Client,
        format!(
            "The handshake is sent elsewhere ({status}), and browsers follow no redirect of a WebSocket."
        ),
    )
    .fix(Fix::new("the page or the client", "Ask where it leads, from the start.").lines(location))
    .fix(Fix::new("the server", "Or take the path of the WebSocket out of the rule that redirects."))
}

fn looping(to: &Target) -> Verdict {
    make(
        "redirect-loop",
        Party::Server,
        format!("The handshake is sent in a circle: {to} leads back to itself."),
    )
    .fix(
        Fix::new(
            "nginx",
            "The application sends all that is not https to https, and does not know that TLS ends at the proxy: tell it.",
        )
        .lines("proxy_set_header X-Forwarded-Proto $scheme;"),
    )
    .fix(Fix::new("Cloudflare", "With SSL mode \"Flexible\" the server sees plain requests only: choose \"Full (strict)\"."))
}
