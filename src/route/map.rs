//! Pure: `map` blocks, and the other blocks that make variables.

use std::collections::HashMap;

use longwire_conf::model::{Geo, Map, Split};
use longwire_conf::template::Template;

use super::choice::{GeoTable, part};
use super::facts::{Captures, Facts};

/// `map`, `geo` and `split_clients` blocks, made ready for looking up.
#[derive(Debug, Clone, Default)]
pub struct Maps {
    maps: Vec<(Map, HashMap<String, usize>)>,
    geos: Vec<GeoTable>,
    splits: Vec<Split>,
}

impl Maps {
    /// Indexes the maps of a configuration.
    pub fn new(maps: &[Map]) -> Maps {
        let index = |map: &Map| {
            // Backwards, so that of two entries the first stays.
            map.exact.iter().enumerate().rev().map(|(at, (key, _))| (key.to_ascii_lowercase(), at)).collect()
        };
        Maps { maps: maps.iter().map(|map| (map.clone(), index(map))).collect(), ..Maps::default() }
    }

    /// The same with `geo` and `split_clients` blocks.
    pub fn with(self, geos: &[Geo], splits: &[Split]) -> Maps {
        Maps { geos: geos.iter().map(GeoTable::new).collect(), splits: splits.to_vec(), ..self }
    }

    /// The address that a `geo` looks up, if it is not the client's.
    pub(super) fn geo_source(&self, index: usize) -> Option<&Template> {
        self.geos.get(index)?.geo.source.as_ref()
    }

    /// The value of a `geo`; `text`: that address.
    pub(super) fn geo(&self, index: usize, facts: &Facts, text: Option<&[u8]>) -> &str {
        self.geos.get(index).map_or("", |table| table.find(facts, text))
    }

    /// What a `split_clients` hashes.
    pub(super) fn split_key(&self, index: usize) -> Option<&Template> {
        self.splits.get(index).map(|split| &split.key)
    }

    /// The value of a `split_clients`.
    pub(super) fn split(&self, index: usize, key: &[u8]) -> &str {
        self.splits.get(index).map_or("", |split| part(split, key))
    }

    /// The value that is looked up in a map.
    pub(super) fn source(&self, index: usize) -> Option<&Template> {
        self.maps.get(index).map(|(map, _)| &map.source)
    }

    /// The variable of a map.
    pub(super) fn name(&self, index: usize) -> Option<&str> {
        self.maps.get(index).map(|(map, _)| map.variable.as_str())
    }

    /// Finds the entry for a source value: exact, masks, expressions, default.
    pub(super) fn find(&self, index: usize, source: &str) -> Option<(&Template, Captures)> {
        let (map, exact) = self.maps.get(index)?;
        let key = if map.hostnames { source.strip_suffix('.').unwrap_or(source) } else { source };
        let lower = key.to_ascii_lowercase();
        let listed = exact.get(&lower).and_then(|at| map.exact.get(*at));
        let suffix = || map.suffixes.iter().find(|(mask, _)| lower.ends_with(mask.as_str()));
        let prefix = || map.prefixes.iter().find(|(mask, _)| lower.starts_with(mask.as_str()));
        if let Some((_, value)) = listed.or_else(suffix).or_else(prefix) {
            return Some((value, Captures::default()));
        }
        let mut regexes = map.regexes.iter();
        regexes
            .find_map(|(regex, value)| Some((value, Captures::of(regex, key)?)))
            .or(Some((&map.default, Captures::default())))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{facts, template, with_scope};
    use super::*;

    type Entries<'a> = &'a [(&'a str, &'a str)];

    fn map(source: &str, exact: Entries<'_>, masks: [Entries<'_>; 2], regexes: Entries<'_>) -> Map {
        let list = |entries: Entries<'_>| {
            entries.iter().map(|(key, value)| ((*key).into(), template(value))).collect()
        };
        let regex = |text: &str| longwire_conf::pattern::Pattern::new(text, false).unwrap();
        Map {
            variable: "m".to_owned(),
            source: template(source),
            exact: list(exact),
            suffixes: list(masks[0]),
            prefixes: list(masks[1]),
            regexes: regexes.iter().map(|(key, value)| (regex(key), template(value))).collect(),
            default: template("D"),
            hostnames: !masks[0].is_empty(),
        }
    }

    fn value(args: &str, maps: &[Map]) -> String {
        let facts = facts(&format!("/?h={args}"));
        String::from_utf8(with_scope(&facts, maps, |scope| scope.render(&template("$m0")))).unwrap()
    }

    /// What nginx gave for each value.
    #[test]
    fn entries_are_found_as_in_nginx() {
        let exact = [("exact.org", "EXACT"), ("dot.org", "DOT")];
        let suffixes = [(".a.example.com", "STARA"), (".example.com", "STAR"), (".dot.org", "DOT")];
        let hosts = map("$arg_h", &exact, [&suffixes, &[("www.pre.", "PRE")]], &[("^re(.*)$", "re=$1")]);
        let plain =
            map("$arg_h", &[("abc", "exact")], [&[], &[]], &[("^x(?<nm>y+)z$", "nm=$nm"), ("(?i)^Q", "ci")]);
        let table = [
            ("exact.org", "EXACT", "D"),
            ("EXACT.ORG", "EXACT", "D"),
            ("exact.org.", "EXACT", "D"),
            ("example.com", "D", "D"),
            ("a.example.com", "STAR", "D"),
            ("b.a.example.com", "STARA", "D"),
            ("a.example.com.", "STAR", "D"),
            (".example.com", "STAR", "D"),
            ("dot.org", "DOT", "D"),
            ("x.dot.org", "DOT", "D"),
            ("www.pre.x", "PRE", "D"),
            ("www.pre.x.y", "PRE", "D"),
            ("www.pre.", "D", "D"),
            ("reFOO", "re=FOO", "D"),
            ("refoo.", "re=foo", "D"),
            ("REfoo", "D", "D"),
            ("re", "re=", "D"),
            ("ABC", "D", "exact"),
            ("xyyz", "D", "nm=yy"),
            ("XYZ", "D", "D"),
            ("quux", "D", "ci"),
            ("", "D", "D"),
        ];
        let (hosts, plain) = ([hosts], [plain]);
        for (source, by_host, by_text) in table {
            assert_eq!(
                (value(source, &hosts).as_str(), value(source, &plain).as_str()),
                (by_host, by_text),
                "{source}"
            );
        }
    }

    #[test]
    fn maps_may_ask_maps_but_not_for_ever() {
        let inner = map("$arg_h", &[("a", "b")], [&[], &[]], &[]);
        let outer = map("$m1", &[("b", "c")], [&[], &[]], &[]);
        assert_eq!(value("a", &[outer, inner]), "c");
        let cycle = map("$m0", &[("d", "e")], [&[], &[]], &[]);
        value("a", &[cycle]);
    }
}
