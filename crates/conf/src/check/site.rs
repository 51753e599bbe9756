//! Pure: the blocks of a configuration as nginx nests them, and what is in force in each of them.

use std::collections::{HashMap, HashSet};

use crate::source::{Sources, Span};
use crate::tree::Directive;

use super::Wishes;
use super::eval;
use super::listen::{Listen, listens};
use super::location::Kind;
use super::road::{Carries, Road, roads};

/// A block, or the whole file.
#[derive(Debug)]
pub(crate) struct Block<'t> {
    /// Its directive; `None` for the file.
    pub(crate) head: Option<&'t Directive>,
    /// The block it stands in; the file stands in itself.
    pub(crate) parent: usize,
    /// What stands in it.
    pub(crate) items: &'t [Directive],
    /// What it matches, if it is a location.
    pub(crate) kind: Option<Kind>,
    /// What stands in it, by name.
    by_name: HashMap<&'t str, Vec<&'t Directive>>,
}

impl<'t> Block<'t> {
    fn new(head: Option<&'t Directive>, parent: usize, items: &'t [Directive]) -> Block<'t> {
        let kind = head.filter(|head| head.name.value == "location").and_then(Kind::of);
        let mut by_name: HashMap<&str, Vec<&Directive>> = HashMap::new();
        for item in items {
            by_name.entry(item.name.value.as_str()).or_default().push(item);
        }
        Block { head, parent, items, kind, by_name }
    }

    /// Its name: `server`, `location`, ...; empty for the file.
    pub(crate) fn name(&self) -> &'t str {
        self.head.map_or("", |head| head.name.value.as_str())
    }

    /// The directives of this name in it.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &'t Directive> + use<'_, 't> {
        self.by_name.get(name).into_iter().flatten().copied()
    }

    /// The last directive of this name in it.
    pub(crate) fn own(&self, name: &str) -> Option<&'t Directive> {
        self.by_name.get(name)?.last().copied()
    }

    /// Where it begins.
    pub(crate) fn span(&self) -> Span {
        self.head.map_or_else(Span::default, |head| head.span)
    }
}

/// A configuration, ready to be judged.
pub(crate) struct Site<'t> {
    /// All blocks of HTTP, outer before inner; the first is the file.
    pub(crate) blocks: Vec<Block<'t>>,
    /// The blocks in each block, by its number.
    children: Vec<Vec<usize>>,
    /// Numbers of the blocks of each name.
    by_name: HashMap<&'t str, Vec<usize>>,
    /// Groups by their names in small letters.
    pub(crate) groups: HashMap<String, usize>,
    /// The variables that the file makes.
    pub(crate) made: HashSet<String>,
    /// All `listen`s, by their address.
    pub(crate) listens: HashMap<String, Vec<Listen<'t>>>,
    /// Every place that hands requests to a backend by `proxy_pass`.
    pub(crate) roads: Vec<Road<'t>>,
    /// The blocks around places that pass `Upgrade` on, these included.
    pub(crate) declaring: HashSet<usize>,
    /// The blocks around places that carry WebSockets, or surely should.
    pub(crate) carrying: HashSet<usize>,
    /// The texts.
    pub(crate) sources: &'t Sources,
    /// What is wanted of it.
    pub(crate) wishes: Wishes,
    /// Whether it is a whole configuration: a part, as in `conf.d/`, says nothing about what stands around it.
    pub(crate) whole: bool,
}

/// Blocks with another language or another protocol inside.
const FOREIGN: &[&str] = &["stream", "mail", "types"];

impl<'t> Site<'t> {
    /// Takes in a tree.
    pub(crate) fn new(tree: &'t [Directive], sources: &'t Sources, wishes: Wishes) -> Site<'t> {
        let file = Block::new(None, 0, tree);
        let whole = tree.iter().any(|directive| directive.name.value == "http");
        let mut site = Site {
            blocks: vec![file],
            children: vec![Vec::new()],
            by_name: HashMap::new(),
            groups: HashMap::new(),
            made: HashSet::new(),
            listens: HashMap::new(),
            roads: Vec::new(),
            declaring: HashSet::new(),
            carrying: HashSet::new(),
            sources,
            wishes,
            whole,
        };
        site.descend(0);
        site.made = eval::made(&site);
        let name = |block: &Block<'_>| Some(block.head?.args.first()?.value.to_ascii_lowercase());
        let groups: HashMap<String, usize> =
            site.named("upstream").filter_map(|(at, block)| Some((name(block)?, at))).collect();
        site.groups = groups;
        for listen in site.named("server").flat_map(|(at, _)| listens(&site, at)).collect::<Vec<_>>() {
            site.listens.entry(listen.address.clone()).or_default().push(listen);
        }
        site.roads = roads(&site);
        site.declaring = site.blocks_around(|road| road.carries == Carries::Declared);
        site.carrying = site.blocks_around(|road| road.is_websocket());
        site
    }

    fn descend(&mut self, parent: usize) {
        for directive in self.blocks[parent].items {
            let Some(items) = &directive.block else { continue };
            let name = directive.name.value.as_str();
            if FOREIGN.contains(&name) || name.ends_with("_by_lua_block") {
                continue;
            }
            let at = self.blocks.len();
            self.blocks.push(Block::new(Some(directive), parent, items));
            self.children.push(Vec::new());
            self.children[parent].push(at);
            self.by_name.entry(name).or_default().push(at);
            self.descend(at);
        }
    }

    fn blocks_around(&self, of: fn(&Road<'_>) -> bool) -> HashSet<usize> {
        let roads = self.roads.iter().filter(|road| of(road));
        roads.flat_map(|road| self.around(road.block).map(|(at, _)| at)).collect()
    }

    /// The blocks of this name.
    pub(crate) fn named(&self, name: &str) -> impl Iterator<Item = (usize, &Block<'t>)> + use<'_, 't> {
        self.by_name.get(name).into_iter().flatten().map(|&at| (at, &self.blocks[at]))
    }

    /// A block and those around it, from the inside out; the file is the last.
    pub(crate) fn around(&self, block: usize) -> impl Iterator<Item = (usize, &Block<'t>)> {
        let mut next = Some(block);
        std::iter::from_fn(move || {
            let at = next?;
            next = (at != 0).then(|| self.blocks[at].parent);
            Some((at, &self.blocks[at]))
        })
    }

    /// The blocks that stand directly in a block.
    pub(crate) fn children(&self, parent: usize) -> impl Iterator<Item = (usize, &Block<'t>)> {
        self.children[parent].iter().map(|&at| (at, &self.blocks[at]))
    }

    /// The innermost block of this name around a block, itself included.
    pub(crate) fn enclosing(&self, block: usize, name: &str) -> Option<usize> {
        self.around(block).find(|(_, block)| block.name() == name).map(|(at, _)| at)
    }

    /// The directive of this name that is in force in a block: the one of the nearest level that has it.
    pub(crate) fn nearest(&self, block: usize, name: &str) -> Option<&'t Directive> {
        self.around(block).find_map(|(_, level)| level.own(name))
    }

    /// The same for a list, which a level with one of its own replaces as a whole; and the level it comes from.
    pub(crate) fn list(&self, block: usize, name: &str) -> (Option<usize>, Vec<&'t Directive>) {
        let level = self.around(block).find(|(_, level)| level.own(name).is_some());
        level.map_or((None, Vec::new()), |(at, level)| (Some(at), level.all(name).collect()))
    }

    /// The first argument of what is in force in a block.
    pub(crate) fn value(&self, block: usize, name: &str) -> Option<&'t str> {
        self.nearest(block, name)?.args.first().map(|word| word.value.as_str())
    }

    /// Whether something that is in force in a block may stand in a file that could not be read.
    pub(crate) fn is_unknown(&self, block: usize) -> bool {
        self.around(block).any(|(_, level)| level.all("include").any(may_proxy))
    }

    /// Whether any file that could not be read may hold maps and the like.
    pub(crate) fn misses_files(&self) -> bool {
        self.blocks.iter().any(|block| block.all("include").any(may_proxy))
    }
}

/// Whether an `include` that could not be followed may be about proxying, by its name.
fn may_proxy(include: &Directive) -> bool {
    const OTHERS: &[&str] = &[
        "ssl",
        "tls",
        "mime",
        "fastcgi",
        "letsencrypt",
        "cert",
        "gzip",
        "security",
        "php",
        "cache",
        "log",
        "acme",
    ];
    include.args.first().is_some_and(|path| {
        let path = path.value.to_ascii_lowercase();
        !OTHERS.iter().any(|other| path.contains(other))
    })
}
