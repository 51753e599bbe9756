//! Names that a configuration may use before it defines them: maps, groups, log formats, captures.

use std::collections::{HashMap, HashSet};

use crate::directives::{unsupported, zone_name};
use crate::pattern;
use crate::template::Variable;
use crate::tree::Directive;

/// Everything that is named in a tree.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Variables of `map`s, in file order: the index is that of the model.
    pub(crate) maps: Vec<String>,
    /// Variables of `geo` and of `split_clients`, in file order.
    pub(crate) geos: Vec<String>,
    /// See above.
    pub(crate) splits: Vec<String>,
    /// Groups, in file order.
    pub(crate) upstreams: Vec<String>,
    /// Zones of `limit_req_zone` and of `limit_conn_zone`, in file order.
    pub(crate) req_zones: Vec<String>,
    /// See above.
    pub(crate) conn_zones: Vec<String>,
    /// Log formats, in file order behind the one without a name and the predefined ones.
    pub(crate) formats: Vec<String>,
    /// Named captures, and variables of directives that are refused elsewhere: they cause no further mistakes.
    pub(crate) others: HashSet<String>,
    /// Variables of `set`.
    pub(crate) set: HashSet<String>,
    /// With `--allow-unsupported`: variables without a value, and the directive that should make each.
    pub(crate) unsupported: HashMap<String, String>,
}

/// Log formats that are there before any `log_format`: the one that is used without a name, and two by name.
pub(crate) const PREDEFINED: [&str; 3] = ["", "combined", "json"];

impl Names {
    /// Collects the names of a tree.
    pub(crate) fn collect(tree: &[Directive], allow_unsupported: bool) -> Names {
        let mut names = Names { formats: PREDEFINED.map(str::to_owned).into(), ..Names::default() };
        names.visit(tree);
        if allow_unsupported {
            let known = unsupported::VARIABLES.iter();
            names.unsupported = known.map(|(name, maker)| ((*name).into(), (*maker).into())).collect();
            // A map may use one that stands behind it.
            while names.spread(tree) {}
        }
        names
    }

    /// Finds variables without a value: those that nothing makes, and maps of these. Whether there were any.
    fn spread(&mut self, tree: &[Directive]) -> bool {
        let mut found = false;
        for directive in tree.iter().filter(|directive| !is_foreign(directive)) {
            let name = directive.name.value.as_str();
            let made = match (name, directive.args.as_slice()) {
                (_, [variable, ..]) if unsupported::directives_of_variables(name) => {
                    Some((lower(&variable.value), name.to_owned()))
                }
                ("map" | "geo" | "split_clients", [.., variable]) => {
                    self.without_value(directive).map(|maker| (lower(&variable.value), maker))
                }
                _ => None,
            };
            if let Some((variable, maker)) = made {
                found |= self.unsupported.insert(variable, maker).is_none();
            }
            if let Some(block) = &directive.block {
                found |= self.spread(block);
            }
        }
        found
    }

    /// The maker of a variable without a value that a map uses, if it does.
    fn without_value(&self, map: &Directive) -> Option<String> {
        let source = &map.args[..map.args.len() - 1];
        let values = map.block.iter().flatten().flat_map(|entry| &entry.args);
        source.iter().chain(values).find_map(|word| {
            word.value.split('$').skip(1).find_map(|text| {
                let text = text.strip_prefix('{').unwrap_or(text);
                let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
                self.unsupported.get(&text[..end].to_ascii_lowercase()).cloned()
            })
        })
    }

    /// The variable of this name.
    pub(crate) fn variable(&self, name: &str) -> Option<Variable> {
        if self.unsupported.contains_key(name) {
            return Some(Variable::Named(name.to_owned()));
        }
        if let Some(index) = self.maps.iter().rposition(|map| map == name) {
            return Some(Variable::Map(index));
        }
        if let Some(index) = self.geos.iter().rposition(|geo| geo == name) {
            return Some(Variable::Geo(index));
        }
        if let Some(index) = self.splits.iter().rposition(|split| split == name) {
            return Some(Variable::Split(index));
        }
        if self.others.contains(name) {
            return Some(Variable::Named(name.to_owned()));
        }
        if self.set.contains(name) && !matches!(Variable::builtin(name), Some(Variable::Known(_))) {
            return Some(Variable::Set(name.to_owned()));
        }
        // Names of variables are compared without case, as nginx does.
        Variable::builtin(name).or_else(|| {
            let lower = name.to_ascii_lowercase();
            if lower == name { None } else { self.variable(&lower) }
        })
    }

    /// The group of this name.
    pub(crate) fn upstream(&self, name: &str) -> Option<usize> {
        self.upstreams.iter().position(|upstream| upstream.eq_ignore_ascii_case(name))
    }

    fn visit(&mut self, tree: &[Directive]) {
        for directive in tree.iter().filter(|directive| !is_foreign(directive)) {
            self.define(directive);
            if let Some(block) = &directive.block {
                self.visit(block);
            }
        }
    }

    fn define(&mut self, directive: &Directive) {
        let args: Vec<&str> = directive.args.iter().map(|word| word.value.as_str()).collect();
        match (directive.name.value.as_str(), args.as_slice()) {
            ("map", [_, variable, ..]) if directive.block.is_some() => self.maps.push(lower(variable)),
            ("upstream", [name, ..]) if directive.block.is_some() => self.upstreams.push((*name).to_owned()),
            ("limit_req_zone", args) => self.req_zones.extend(zone_name(args).map(str::to_owned)),
            ("limit_conn_zone", args) => self.conn_zones.extend(zone_name(args).map(str::to_owned)),
            ("log_format", [name, ..]) => self.formats.push((*name).to_owned()),
            ("set", [variable, ..]) => drop(self.set.insert(lower(variable))),
            ("auth_request_set" | "perl_set" | "js_set" | "js_var", [variable, ..]) => self.other(variable),
            ("geo", [.., variable]) => self.geos.push(lower(variable)),
            ("split_clients", [.., variable]) => self.splits.push(lower(variable)),
            (name, _) if name.starts_with("set_by_lua") => {
                args.first().into_iter().for_each(|variable| self.other(variable));
            }
            ("server_name" | "location" | "if" | "rewrite", _) => self.captures(&args),
            (key, _) if key.starts_with('~') => self.captures(&[key]),
            _ => {}
        }
    }

    fn other(&mut self, variable: &str) {
        self.others.insert(lower(variable));
    }

    fn captures(&mut self, expressions: &[&str]) {
        for name in expressions.iter().flat_map(|expression| pattern::group_names(expression)) {
            self.others.insert(name.to_owned());
        }
    }
}

/// A block with names of its own.
fn is_foreign(directive: &Directive) -> bool {
    matches!(directive.name.value.as_str(), "stream" | "mail")
}

fn lower(variable: &str) -> String {
    variable.trim_start_matches('$').to_ascii_lowercase()
}
