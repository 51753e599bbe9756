//! Pure: `map` blocks.

use std::collections::HashMap;

use longwire_conf::model::Map;
use longwire_conf::template::Template;

use super::facts::Captures;

/// `map` blocks, made ready for looking up.
#[derive(Debug, Clone, Default)]
pub struct Maps {
    maps: Vec<(Map, HashMap<String, usize>)>,
}

impl Maps {
    /// Indexes the maps of a configuration.
    pub fn new(maps: &[Map]) -> Maps {
        let index = |map: &Map| {
            // Backwards, so that of two entries the first stays.
            map.exact.iter().enumerate().rev().map(|(at, (key, _))| (key.to_ascii_lowercase(), at)).collect()
        };
        Maps { maps: maps.iter().map(|map| (map.clone(), index(map))).collect() }
    }

    /// The value that is looked up in a map.
    pub(super) fn source(&self, index: usize) -> Option<&Template> {
        self.maps.get(index).map(|(map, _)| &map.source)
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
