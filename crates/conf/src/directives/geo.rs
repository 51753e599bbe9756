//! `geo` and `split_clients`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use super::{Entry, HTTP, block, guard};
use crate::build::Builder;
use crate::cidr::{self, Cidr};
use crate::diagnostic::Diagnostic;
use crate::model::{Geo, Split};
use crate::template::Variable;
use crate::token::Word;
use crate::tree::Directive;

pub(super) const TABLE: &[Entry] = &[
    block(
        "geo",
        HTTP,
        (1, 2),
        "[$ADDRESS] $VARIABLE",
        "Makes a variable by the client's address, or by the one in `$ADDRESS`: the smallest of the networks it lies in decides. `ranges`, `default`, `delete`, `include`, `proxy` and `proxy_recursive` inside are those of nginx.",
        geo,
    ),
    block(
        "split_clients",
        HTTP,
        (2, 2),
        "KEY $VARIABLE",
        "Makes a variable by chance, but always the same for the same key: `10% a; * b;`. A key falls into the same part as with nginx.",
        split_clients,
    ),
];

/// The name behind `$`; reports it if there is none, or if it is taken.
fn variable(b: &mut Builder<'_>, word: &Word) -> bool {
    let mistake = Diagnostic::error(word.span, format!("invalid variable name \"{}\"", word.value));
    match word.value.strip_prefix('$').filter(|name| !name.is_empty()) {
        None => b.report(mistake.label("a \"$\" belongs before it")),
        Some(name) => match Variable::builtin(name) {
            Some(Variable::Known(_) | Variable::Capture(_)) => {
                let message = format!("the duplicate \"{name}\" variable");
                b.report(Diagnostic::error(word.span, message).label("this variable is predefined"));
            }
            _ => return true,
        },
    }
    false
}

fn geo(b: &mut Builder<'_>, d: &Directive) {
    let (source, name) = match d.args.as_slice() {
        [source, name] => (Some(source), name),
        [name, ..] => (None, name),
        [] => return,
    };
    if !variable(b, name) {
        return;
    }
    let source = match source {
        None => None,
        Some(word) => match b.template(word) {
            Some(source) => Some(source),
            None => return,
        },
    };
    let mut geo = Geo { source, ..Geo::default() };
    for entry in d.block.as_deref().unwrap_or_default() {
        geo_entry(b, &mut geo, entry);
    }
    b.config.geos.push(geo);
}

fn geo_entry(b: &mut Builder<'_>, geo: &mut Geo, entry: &Directive) {
    let key = &entry.name;
    match (key.value.as_str(), entry.args.as_slice()) {
        ("ranges", []) if !geo.nets.is_empty() => {
            let message = "the \"ranges\" directive must be the first directive inside \"geo\" block";
            b.report(Diagnostic::error(entry.span, message));
        }
        ("ranges", []) => geo.by_ranges = true,
        ("proxy_recursive", []) => geo.proxy_recursive = true,
        ("proxy", [word]) => geo.proxies.extend(network(b, word)),
        ("default", [value]) => {
            if !geo.default.is_empty() {
                let message = format!("duplicate default geo range value: \"{}\"", value.value);
                b.report(
                    Diagnostic::warning(entry.span, message).label(format!("it was \"{}\"", geo.default)),
                );
            }
            geo.default.clone_from(&value.value);
        }
        ("delete", [word]) if geo.by_ranges => {
            let Some((first, last)) = range(b, word) else { return };
            if geo.ranges.get(&first).is_some_and(|(end, _)| *end == last) {
                geo.ranges.remove(&first);
            } else {
                nothing_to_delete(b, word, "address range");
            }
        }
        ("delete", [word]) => {
            let Some(net) = network(b, word) else { return };
            if geo.nets.remove(&net).is_none() {
                nothing_to_delete(b, word, "network");
            }
        }
        (_, [value]) if geo.by_ranges => {
            let Some((first, last)) = range(b, key) else { return };
            put(b, geo, key, first, last, value.value.clone());
        }
        (_, [value]) => {
            let Some(net) = network(b, key) else { return };
            if let Some(old) = geo.nets.insert(net, value.value.clone()) {
                let message = format!("duplicate network \"{}\", value: \"{}\"", key.value, value.value);
                b.report(Diagnostic::warning(entry.span, message).label(format!("it was \"{old}\"")));
            }
        }
        _ => {
            let mistake = Diagnostic::error(entry.span, "invalid number of the geo parameters");
            b.report(mistake.help("an entry is \"NETWORK VALUE;\"; quote a value that has spaces"));
        }
    }
}

fn nothing_to_delete(b: &mut Builder<'_>, word: &Word, what: &str) {
    b.report(Diagnostic::warning(word.span, format!("no {what} \"{}\" to delete", word.value)));
}

fn network(b: &mut Builder<'_>, word: &Word) -> Option<Cidr> {
    // What an address becomes that cannot be read.
    if word.value == "255.255.255.255" {
        return Some(Cidr::host(Ipv4Addr::BROADCAST.into()));
    }
    guard::network(b, word, &word.value)
}

fn range(b: &mut Builder<'_>, word: &Word) -> Option<(u32, u32)> {
    let end = |text: &str| match (text, cidr::address(text)) {
        ("255.255.255.255", _) => Some(u32::MAX),
        (_, Some(IpAddr::V4(address))) => Some(address.to_bits()),
        _ => None,
    };
    let ends = word.value.split_once('-').and_then(|(first, last)| Some((end(first)?, end(last)?)));
    let found = ends.filter(|(first, last)| first <= last);
    if found.is_none() {
        let mistake = Diagnostic::error(word.span, format!("invalid range \"{}\"", word.value));
        b.report(mistake.help("write for example \"192.0.2.0-192.0.2.255\""));
    }
    found
}

/// Puts a range in. It may lie within another, which keeps what is left, or replace it, but not reach over its ends.
fn put(b: &mut Builder<'_>, geo: &mut Geo, word: &Word, first: u32, last: u32, value: String) {
    let others: BTreeMap<u32, u32> = geo
        .ranges
        .range(..=last)
        .rev()
        .take_while(|(_, (end, _))| *end >= first)
        .map(|(start, (end, _))| (*start, *end))
        .collect();
    match others.iter().next() {
        None => {}
        Some((start, end)) if others.len() == 1 && *start <= first && last <= *end => {
            let Some((_, old)) = geo.ranges.remove(start) else { return };
            if (*start, *end) == (first, last) {
                let message = format!("duplicate range \"{}\", value: \"{value}\"", word.value);
                b.report(Diagnostic::warning(word.span, message).label(format!("it was \"{old}\"")));
            }
            if *start < first {
                geo.ranges.insert(*start, (first - 1, old.clone()));
            }
            if last < *end {
                geo.ranges.insert(last + 1, (*end, old));
            }
        }
        Some((start, end)) => {
            let (start, end) = (Ipv4Addr::from_bits(*start), Ipv4Addr::from_bits(*end));
            let message = format!("range \"{}\" overlaps \"{start}-{end}\"", word.value);
            return b.report(Diagnostic::error(word.span, message).help("write the wider range first"));
        }
    }
    geo.ranges.insert(first, (last, value));
}

fn split_clients(b: &mut Builder<'_>, d: &Directive) {
    if !variable(b, &d.args[1]) {
        return;
    }
    let Some(key) = b.template(&d.args[0]) else { return };
    let mut split = Split { key, parts: Vec::new() };
    let (mut sum, mut bound) = (0u64, 0u64);
    for entry in d.block.as_deref().unwrap_or_default() {
        let [value] = entry.args.as_slice() else {
            let mistake = Diagnostic::error(entry.span, "invalid number of the split_clients parameters");
            return b.report(mistake.help("an entry is \"PERCENT VALUE;\", such as \"0.5% a;\" or \"* b;\""));
        };
        let percent = match entry.name.value.as_str() {
            "*" => 0,
            text => match text.strip_suffix('%').and_then(hundredths) {
                Some(percent) => percent,
                None => {
                    let message = format!("invalid percent value \"{text}\"");
                    let mistake = Diagnostic::error(entry.name.span, message);
                    return b
                        .report(mistake.help("write for example \"10%\", \"0.25%\", or \"*\" for the rest"));
                }
            },
        };
        sum = if percent == 0 { 10_000 } else { sum + percent };
        if sum > 10_000 {
            let message = "percent total is greater than 100%";
            return b.report(Diagnostic::error(entry.span, message).label("this is too much"));
        }
        if percent > 0 {
            bound += percent * u64::from(u32::MAX) / 10_000;
        }
        let limit = if percent == 0 { 0 } else { bound as u32 };
        split.parts.push((limit, value.value.clone()));
    }
    b.config.splits.push(split);
}

/// Hundredths of a number with at most two digits behind the point; `None` for zero.
fn hundredths(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 2 || text.is_empty() {
        return None;
    }
    let number: u64 = format!("{whole}{part:0<2}").parse().ok()?;
    Some(number).filter(|number| (1..=1_000_000).contains(number))
}
