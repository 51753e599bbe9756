//! The live page: its files are part of the program, so that it needs nothing from elsewhere.

use http::StatusCode;

use super::answer::{self, Answer};
use super::ask::Ask;

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Where a file is, its media type, and itself.
const FILES: [(&str, &str, &str); 7] = [
    ("/", HTML, include_str!("index.html")),
    ("/page.css", STYLE, include_str!("page.css")),
    ("/page.js", SCRIPT, include_str!("page.js")),
    ("/charts.js", SCRIPT, include_str!("charts.js")),
    ("/dialog.js", SCRIPT, include_str!("dialog.js")),
    ("/table.js", SCRIPT, include_str!("table.js")),
    ("/words.js", SCRIPT, include_str!("words.js")),
];

/// `GET /` and what the page loads: the file at this path.
pub(super) async fn file(ask: Ask) -> Answer {
    let path = ask.request.uri().path();
    match FILES.iter().find(|(at, ..)| *at == path) {
        Some((_, media_type, text)) => answer::text(media_type, *text),
        None => answer::error(StatusCode::NOT_FOUND, format_args!("the page has no file {path}")),
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::admin::routes;

    #[test]
    fn every_file_is_served_and_all_that_is_loaded_is_there() {
        for (path, ..) in FILES {
            assert!(routes::find(&Method::GET, path).is_ok(), "{path} has no route");
        }
        let is_there = |name: &str| FILES.iter().any(|(path, ..)| path[1..] == *name);
        let quoted = regex::Regex::new(r#"(?:from '\./|src="|href=")([a-z]+\.(?:js|css))['"]"#).unwrap();
        let elsewhere = regex::Regex::new(r#"(?:src|href)="https?:|url\(|@import|from 'http"#).unwrap();
        let mut loaded = 0;
        for (path, _, text) in FILES {
            for found in quoted.captures_iter(text) {
                assert!(is_there(&found[1]), "{path} loads {}, which is not there", &found[1]);
                loaded += 1;
            }
            assert!(!elsewhere.is_match(text), "{path} loads something from elsewhere");
        }
        assert!(loaded >= FILES.len() - 1, "the page loads all its files");
    }
}
