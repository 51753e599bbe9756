//! `admin`.

use std::net::{IpAddr, Ipv4Addr};

use super::{ANY, Context, Entry, add};
use crate::address;
use crate::build::Builder;
use crate::diagnostic::Diagnostic;
use crate::model::{Address, Admin, Spanned};
use crate::token::Word;
use crate::tree::Directive;

pub(super) const TABLE: &[Entry] = &[add(
    "admin",
    &[Context::Main, Context::Http],
    (1, ANY),
    "ADDRESS:PORT | PORT | unix:PATH [token=FILE] [name=HOST]... [public]",
    "",
    "An address for those who run Longwire: a live page, an API of JSON, and metrics for Prometheus. A port alone is one of 127.0.0.1; a Unix socket is open to the user that has bound it, and to no other. An address that other machines reach needs the word `public`, for it is not encrypted, and whoever reaches it may read: who is connected, the configuration (values that look like secrets are left out), the metrics. Closing tunnels and draining servers takes `Authorization: Bearer` with the text in the token file; without such a file it can be done over a Unix socket only. A request that was made to another name than `localhost`, an IP address or a `name=` is refused, and so is one that another site has sent.",
    admin,
)];

fn admin(b: &mut Builder<'_>, d: &Directive) {
    let word = &d.args[0];
    let address = match listen_address(&word.value) {
        Ok(address) => address,
        Err(problem) => {
            let message = format!("{problem} in \"{}\" of the \"admin\" directive", word.value);
            let help = "write a port, \"127.0.0.1:9191\", \"[::1]:9191\" or \"unix:/path\"";
            return b.report(Diagnostic::error(word.span, message).help(help));
        }
    };
    let mut admin = Admin { address, token: None, names: Vec::new(), public: false };
    for word in &d.args[1..] {
        if !parameter(b, &mut admin, word) {
            return;
        }
    }
    if !admin.public && !is_of_this_machine(&admin.address) {
        let message = format!("the admin address {} can be reached by other machines", word.value);
        let help = "write 127.0.0.1, [::1] or unix:/path; or, where a network is meant that strangers do not reach, \"public\" behind it";
        return b.report(
            Diagnostic::error(word.span, message)
                .label("not encrypted, and whoever reaches it may read")
                .help(help),
        );
    }
    if b.config.main.admin.iter().any(|other| other.value.address == admin.address) {
        return b.report(Diagnostic::error(d.span, format!("a duplicate admin {}", word.value)));
    }
    b.config.main.admin.push(Spanned { value: admin, span: d.span });
}

/// An address with its port. A port 0 asks the system for a free one.
fn listen_address(text: &str) -> Result<Address, &'static str> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        let port = address::port(text).ok_or("invalid port")?;
        return Ok(Address::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    if let Some(host) = text.strip_suffix(":0") {
        return address::parse(host);
    }
    match address::parse(text)? {
        Address::Ip(_, 0) | Address::Name(_, 0) => Err("no port"),
        address => Ok(address),
    }
}

fn is_of_this_machine(address: &Address) -> bool {
    match address {
        Address::Unix(_) => true,
        Address::Ip(ip, _) => ip.to_canonical().is_loopback(),
        Address::Name(name, _) => name == "localhost",
    }
}

/// Reads one parameter; `false` when it was reported.
fn parameter(b: &mut Builder<'_>, admin: &mut Admin, word: &Word) -> bool {
    match word.value.split_once('=') {
        None if word.value == "public" => admin.public = true,
        Some(("name", name)) if !name.is_empty() => admin.names.push(name.to_ascii_lowercase()),
        Some(("token", file)) if !file.is_empty() && admin.token.is_none() => {
            admin.token = Some(Spanned { value: b.folder.join(file), span: word.span });
        }
        _ => {
            let message = format!("invalid parameter \"{}\"", word.value);
            let help = "parameters are token=FILE, name=HOST and public";
            b.report(Diagnostic::error(word.span, message).help(help));
            return false;
        }
    }
    true
}
