//! Files, which Longwire does not serve yet: where that changes nothing, and where it must be said.

use crate::build::Builder;
use crate::diagnostic::Diagnostic;
use crate::level::{Layer, Level};
use crate::model::{ErrorPage, Matcher, Settings};

/// Marks locations that are there for error pages alone, and would be files.
pub(crate) fn mark_pages(http: &mut Level) {
    let shared = targets(&http.layer);
    http.children.iter_mut().for_each(|server| mark_pages_of(server, &shared));
}

fn mark_pages_of(server: &mut Level, shared: &[String]) {
    let mut targets = [shared, &targets(&server.layer)].concat();
    server.children.iter().for_each(|child| targets.extend(self::targets(&child.layer)));
    for child in &mut server.children {
        let does_nothing = child.answer.is_none() && child.proxy.is_none() && child.children.is_empty();
        child.is_page = does_nothing && path(child).is_some_and(|path| targets.contains(path));
    }
}

/// Where error pages lead, as far as it is fixed.
fn targets(layer: &Layer) -> Vec<String> {
    let pages = layer.error_page.iter().flatten();
    pages.filter_map(|page| page.target.as_literal().map(str::to_owned)).collect()
}

fn path(level: &Level) -> Option<&String> {
    match &level.matcher {
        Some(Matcher::Exact(path) | Matcher::Prefix { path, .. }) => Some(path),
        _ => None,
    }
}

/// Paths of a server's locations for error pages that would be files.
pub(crate) fn missing_pages(server: &Level) -> Vec<String> {
    server.children.iter().filter(|child| child.is_page).filter_map(path).cloned().collect()
}

/// Leaves out error pages that would be files, so that the built-in ones take their place.
pub(crate) fn without_pages(mut settings: Settings, missing: &[String]) -> Settings {
    let is_missing = |page: &ErrorPage| {
        page.target.as_literal().is_some_and(|target| missing.iter().any(|path| path == target))
    };
    if settings.error_page.iter().any(is_missing) {
        settings.error_page = settings.error_page.iter().filter(|page| !is_missing(page)).cloned().collect();
    }
    settings
}

/// `root` and `alias` are harmless exactly where no request would come to a file.
pub(crate) fn check(b: &mut Builder<'_>, level: &Level) {
    if let Some(path) = path(level).filter(|_| level.is_page) {
        let message = format!("the built-in error page is sent in place of \"{path}\"");
        return b.report(Diagnostic::warning(level.span, message).label("Longwire does not serve files yet"));
    }
    let would_serve = would_serve(level);
    for (name, span) in &level.files {
        if would_serve {
            b.report(
                Diagnostic::error(*span, format!("\"{name}\": Longwire does not serve files yet"))
                    .label("requests that are neither proxied nor answered by \"return\" would be served from here")
                    .help("give these requests a location with \"proxy_pass\" or \"return\", or leave them to another server"),
            );
        } else {
            b.without_effect(name, *span, "every request here is proxied or answered by \"return\"");
        }
    }
    for child in &level.children {
        check(b, child);
    }
}

/// Whether requests would come to a file at or below this level; a level with a root of its own is judged there.
fn would_serve(level: &Level) -> bool {
    if level.answer.is_some() || level.is_page {
        return false;
    }
    let catches_all =
        |child: &Level| matches!(&child.matcher, Some(Matcher::Prefix { path, .. }) if path == "/");
    let serves_itself = !level.is_http && level.proxy.is_none() && !level.children.iter().any(catches_all);
    serves_itself || level.children.iter().any(|child| child.files.is_empty() && would_serve(child))
}
