//! A request to the admin address that may be made, and what answering it needs.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http_body_util::{BodyExt as _, Limited};
use hyper::Request;
use hyper::body::Incoming;
use longwire_conf::model::Level;
use serde::de::DeserializeOwned;

use super::answer::{self, Answer};
use super::guard::Writing;
use crate::http::{Arrival, Service};
use crate::log::Context;

/// The most bytes of a body.
const MOST: usize = 64 * 1024;
/// How long a body may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request.
pub(super) struct Ask {
    /// The generation in force.
    pub(super) service: Arc<Service>,
    /// Whether things can be changed at this address.
    pub(super) writing: Writing,
    /// How it came in.
    pub(super) arrival: Arrival,
    /// Who asks, for the log.
    pub(super) peer: Arc<str>,
    /// What stands for the `{...}` of its path, decoded.
    pub(super) parts: Vec<String>,
    /// The request itself.
    pub(super) request: Request<Incoming>,
}

/// A request that cannot be answered as wished, and the answer to it.
pub(super) type Faulty = Box<Answer>;

/// The answer to what makes no sense.
pub(super) fn bad(words: impl std::fmt::Display) -> Faulty {
    Box::new(answer::error(StatusCode::BAD_REQUEST, words))
}

impl Ask {
    /// The names and values of the query, decoded. `+` is a space, as forms write it.
    pub(super) fn query(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        pairs(self.request.uri().query().unwrap_or_default())
    }

    /// Writes to the error log what was done for whoever asked.
    pub(super) fn note(&self, level: Level, words: &str) {
        let message = format_args!("admin: {words}, as {} asks", self.peer);
        self.service.snapshot.logs.error(&[], level, &Context::default(), message);
    }

    /// The body as JSON; an empty one is `{}`.
    pub(super) async fn body<T: DeserializeOwned>(&mut self) -> Result<T, Faulty> {
        let body = Limited::new(self.request.body_mut(), MOST).collect();
        let body = match tokio::time::timeout(PATIENCE, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) => return Err(bad(format_args!("the body cannot be read: {error}"))),
            Err(_) => return Err(bad("the body did not come in time")),
        };
        let text: &[u8] = if body.is_empty() { b"{}" } else { &body };
        serde_json::from_slice(text)
            .map_err(|error| bad(format_args!("the body is not as expected: {error}")))
    }
}

fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    })
}

fn decoded(text: &str) -> Cow<'_, str> {
    let spaced = if text.contains('+') { Cow::Owned(text.replace('+', " ")) } else { Cow::Borrowed(text) };
    match spaced {
        Cow::Borrowed(text) => percent_encoding::percent_decode_str(text).decode_utf8_lossy(),
        Cow::Owned(text) => {
            Cow::Owned(percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded() {
        let found: Vec<_> = pairs("client=10.0.0.0%2F8&q=a+b%2bc&&state").collect();
        let expected = [("client", "10.0.0.0/8"), ("q", "a b+c"), ("state", "")];
        assert_eq!(found, expected.map(|(name, value)| (name.into(), value.into())));
    }
}
