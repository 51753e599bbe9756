//! What can be asked at an admin address.

use std::future::Future;
use std::pin::Pin;

use http::{HeaderValue, Method, StatusCode, header};

use super::answer::{self, Answer};
use super::ask::{Ask, Faulty};
use super::{configuration, counters, live, metrics, overview, page, tunnels, upstreams};

/// What all of it means.
const OPENAPI: &str = include_str!("openapi.json");

/// What answers a request.
type Run = fn(Ask) -> Pin<Box<dyn Future<Output = Answer> + Send>>;

/// One thing that can be asked. Those that change something are not [`Method::GET`]: by that they are guarded.
pub(super) struct Route {
    method: Method,
    /// With `{name}` for what differs.
    path: &'static str,
    /// Answers it.
    pub(super) run: Run,
}

const fn get(path: &'static str, run: Run) -> Route {
    Route { method: Method::GET, path, run }
}

const fn post(path: &'static str, run: Run) -> Route {
    Route { method: Method::POST, path, run }
}

/// All of them; `openapi.json` describes those below `/api`.
const ROUTES: &[Route] = &[
    get("/", |ask| Box::pin(page::file(ask))),
    get("/page.css", |ask| Box::pin(page::file(ask))),
    get("/page.js", |ask| Box::pin(page::file(ask))),
    get("/charts.js", |ask| Box::pin(page::file(ask))),
    get("/dialog.js", |ask| Box::pin(page::file(ask))),
    get("/table.js", |ask| Box::pin(page::file(ask))),
    get("/words.js", |ask| Box::pin(page::file(ask))),
    get("/metrics", |ask| Box::pin(metrics::render(ask))),
    get("/api", |ask| Box::pin(overview::show(ask))),
    get("/api/openapi.json", |_| Box::pin(async { answer::text("application/json", OPENAPI) })),
    get("/api/live", |ask| Box::pin(live::open(ask))),
    get("/api/tunnels", |ask| Box::pin(tunnels::list(ask))),
    get("/api/tunnels/{id}", |ask| Box::pin(tunnels::show(ask))),
    post("/api/tunnels/{id}/close", |ask| Box::pin(tunnels::close(ask))),
    post("/api/tunnels/close", |ask| Box::pin(tunnels::close_many(ask))),
    get("/api/upstreams", |ask| Box::pin(upstreams::list(ask))),
    post("/api/upstreams/{group}/{server}/drain", |ask| Box::pin(upstreams::drain(ask))),
    post("/api/upstreams/{group}/{server}/return", |ask| Box::pin(upstreams::take_back(ask))),
    get("/api/configuration", |ask| Box::pin(configuration::show(ask))),
    get("/api/counters", |ask| Box::pin(counters::show(ask))),
    get("/api/history", |ask| Box::pin(counters::history(ask))),
];

/// The route of a request, and what stands for the `{...}` of its path; or what to answer where there is none.
pub(super) fn find(method: &Method, path: &str) -> Result<(&'static Route, Vec<String>), Faulty> {
    // hyper leaves the body of an answer to HEAD away by itself.
    let method = if method == Method::HEAD { &Method::GET } else { method };
    let mut allowed = Vec::new();
    for route in ROUTES {
        let Some(parts) = parts(route.path, path) else { continue };
        if route.method == *method {
            return Ok((route, parts));
        }
        allowed.push(route.method.as_str());
    }
    if allowed.is_empty() {
        let words = match beside(path).join(", ") {
            names if names.is_empty() => format!("nothing is at {path}"),
            names => format!("nothing is at {path}: there are {names}"),
        };
        return Err(Box::new(answer::error(StatusCode::NOT_FOUND, words)));
    }
    let allowed = allowed.join(", ");
    let words = format!("{path} is asked by {allowed} only");
    let mut answer = answer::error(StatusCode::METHOD_NOT_ALLOWED, words);
    if let Ok(allowed) = HeaderValue::from_str(&allowed) {
        answer.headers_mut().insert(header::ALLOW, allowed);
    }
    Err(Box::new(answer))
}

/// The last parts that a path of the API may have instead of its own, as the actions are that something has.
fn beside(path: &str) -> Vec<&'static str> {
    let Some((above, _)) = path.rsplit_once('/') else { return Vec::new() };
    let routes = ROUTES.iter().filter_map(|route| route.path.rsplit_once('/'));
    let near = routes.filter(|(place, _)| place.starts_with("/api") && parts(place, above).is_some());
    near.map(|(_, name)| name).filter(|name| !name.starts_with('{')).collect()
}

/// What stands for each `{...}` of a pattern, if the path is of that kind.
fn parts(pattern: &str, path: &str) -> Option<Vec<String>> {
    let mut found = Vec::new();
    let (mut wanted, mut there) = (pattern.split('/'), path.split('/'));
    loop {
        match (wanted.next(), there.next()) {
            (None, None) => return Some(found),
            (Some(wanted), Some(there)) if wanted.starts_with('{') => {
                found.push(percent_encoding::percent_decode_str(there).decode_utf8_lossy().into_owned());
            }
            (Some(wanted), Some(there)) if wanted == there => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_its_parts() {
        let parts = |pattern, path| parts(pattern, path).map(|parts| parts.join("|"));
        assert_eq!(parts("/api/tunnels/{id}", "/api/tunnels/17").as_deref(), Some("17"));
        assert_eq!(
            parts("/api/u/{group}/{server}/drain", "/api/u/a%2Fb/1:2/drain").as_deref(),
            Some("a/b|1:2")
        );
        assert_eq!(parts("/api/tunnels/{id}", "/api/tunnels"), None);
        assert_eq!(parts("/api/tunnels", "/api/tunnels/"), None);
        assert_eq!(parts("/", "/").as_deref(), Some(""));
    }

    #[test]
    fn the_document_has_what_the_table_has() {
        let document: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
        let mut told = Vec::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            told.extend(
                methods.as_object().unwrap().keys().map(|method| format!("{} {path}", method.to_uppercase())),
            );
        }
        let there = ROUTES.iter().filter(|route| route.path.starts_with("/api"));
        let mut there: Vec<_> = there.map(|route| format!("{} {}", route.method, route.path)).collect();
        told.sort_unstable();
        there.sort_unstable();
        assert_eq!(told, there);
    }

    #[test]
    fn what_is_not_there_is_said() {
        let status = |method, path| find(&method, path).err().map(|answer| answer.status().as_u16());
        assert_eq!(status(Method::GET, "/api/nothing"), Some(404));
        assert_eq!(status(Method::POST, "/metrics"), Some(405));
        assert_eq!(status(Method::HEAD, "/metrics"), None);
        assert_eq!(beside("/api/upstreams/app/10.0.0.1:80/stop"), ["drain", "return"]);
        assert_eq!(beside("/api/tunnels/17/end"), ["close"]);
        assert_eq!(beside("/nothing"), [""; 0]);
    }
}
