//! Who may come in: `allow`, `deny`, passwords; and whom a client is taken for: `set_real_ip_from`.

use super::{ALL, Context, Entry, add, set};
use crate::build::Builder;
use crate::cidr::Cidr;
use crate::diagnostic::Diagnostic;
use crate::model::{AccessRule, RealIpHeader, Source};
use crate::token::Word;
use crate::tree::Directive;

/// Where access is ruled.
const ACCESS: &[Context] = &[Context::Http, Context::Server, Context::Location, Context::LimitExcept];

pub(super) const TABLE: &[Entry] = &[
    add(
        "allow",
        ACCESS,
        (1, 1),
        "ADDRESS | CIDR | unix: | all",
        "",
        "Lets these clients in. Rules are tried in order, `allow` and `deny` together, and the first that matches decides; who matches none is let in. Inherited only by a level that has no rules of its own.",
        |b, d| rule(b, d, false),
    ),
    add(
        "deny",
        ACCESS,
        (1, 1),
        "ADDRESS | CIDR | unix: | all",
        "",
        "Keeps these clients out, with 403. See `allow`.",
        |b, d| rule(b, d, true),
    ),
    set(
        "auth_basic",
        ACCESS,
        (1, 1),
        "REALM | off",
        "off",
        "Asks for user and password. REALM may have variables; a value of `off` asks for nothing.",
        auth_basic,
    ),
    set(
        "auth_basic_user_file",
        ACCESS,
        (1, 1),
        "FILE",
        "",
        "Users and passwords, one `NAME:PASSWORD` in a line, read at each request. Passwords are hashes of `htpasswd` or `openssl passwd`: `$apr1$`, `$1$`, bcrypt (`$2y$`, `$2a$`, `$2b$`), SHA-crypt (`$5$`, `$6$`), `{SHA}`, `{SSHA}`, or `{PLAIN}`. DES and yescrypt are not known: such a password is refused, and the log says so.",
        auth_basic_user_file,
    ),
    set(
        "auth_delay",
        ALL,
        (1, 1),
        "TIME",
        "0s",
        "How long an answer 401 is held back, so that passwords cannot be tried quickly.",
        |b, d| b.level.layer.guard.auth_delay = b.time(d),
    ),
    add(
        "set_real_ip_from",
        ALL,
        (1, 1),
        "ADDRESS | CIDR | unix:",
        "",
        "Proxies whose word is taken for the client's address: logs, `allow` and `deny`, limits and balancing see that one. `$realip_remote_addr` keeps the other. Inherited only by a level that has none of its own.",
        set_real_ip_from,
    ),
    set(
        "real_ip_header",
        ALL,
        (1, 1),
        "NAME | X-Real-IP | X-Forwarded-For | proxy_protocol",
        "X-Real-IP",
        "Where such a proxy writes it. Of `X-Forwarded-For` the last address counts.",
        real_ip_header,
    ),
    set(
        "real_ip_recursive",
        ALL,
        (1, 1),
        "on | off",
        "off",
        "Whether the last address that is none of these proxies counts, instead of the last one.",
        |b, d| b.level.layer.guard.real_ip_recursive = b.flag(d),
    ),
];

/// A network as an argument; reports it if it is none.
pub(super) fn network(b: &mut Builder<'_>, word: &Word, text: &str) -> Option<Cidr> {
    match Cidr::parse(text) {
        Ok((net, cut)) => {
            if cut {
                let message = format!("low address bits of {text} are meaningless");
                b.report(Diagnostic::warning(word.span, message).label(format!("it is {net}")));
            }
            Some(net)
        }
        Err(_) => {
            let mistake = Diagnostic::error(word.span, format!("invalid parameter \"{}\"", word.value));
            b.report(mistake.help("write an address such as 192.0.2.7 or a network such as 192.0.2.0/24"));
            None
        }
    }
}

fn rule(b: &mut Builder<'_>, d: &Directive, deny: bool) {
    let word = &d.args[0];
    let source = match word.value.as_str() {
        "all" => Source::All,
        "unix:" => Source::Unix,
        text => match network(b, word, text) {
            Some(net) => Source::Net(net),
            None => return,
        },
    };
    let at = b.at(d.span);
    b.level.layer.guard.rules.get_or_insert_default().push(AccessRule { source, deny, at });
}

fn auth_basic(b: &mut Builder<'_>, d: &Directive) {
    let word = &d.args[0];
    let at = b.at(d.span);
    let realm = if word.value == "off" { Some(None) } else { b.template(word).map(Some) };
    b.level.layer.guard.auth_basic = realm.map(|realm| Some((realm?, at)));
}

fn auth_basic_user_file(b: &mut Builder<'_>, d: &Directive) {
    let word = &d.args[0];
    let path = match word.value.starts_with('$') {
        true => word.value.clone(),
        false => b.conf_path(word).value.to_string_lossy().into_owned(),
    };
    let file = b.template_at(&path, word.span);
    b.level.layer.guard.auth_basic_user_file = file.map(Some);
}

fn set_real_ip_from(b: &mut Builder<'_>, d: &Directive) {
    let word = &d.args[0];
    let source = match word.value.as_str() {
        "unix:" => Source::Unix,
        text if Cidr::parse(text).is_ok() => match network(b, word, text) {
            Some(net) => Source::Net(net),
            None => return,
        },
        text => {
            let message = format!("\"{text}\" is no address, and Longwire does not look names up here yet");
            let mistake = Diagnostic::error(word.span, message);
            return b.report(mistake.help("write the address of the proxy, or its network"));
        }
    };
    b.level.layer.guard.real_ip_from.get_or_insert_default().push(source);
}

fn real_ip_header(b: &mut Builder<'_>, d: &Directive) {
    let name = d.args[0].value.to_ascii_lowercase();
    b.level.layer.guard.real_ip_header = Some(match name.as_str() {
        "proxy_protocol" => RealIpHeader::ProxyProtocol,
        "x-forwarded-for" => RealIpHeader::ForwardedFor,
        name => RealIpHeader::Header(name.replace('-', "_")),
    });
}
