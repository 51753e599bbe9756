//! Answers of the admin address.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde::Serialize;

/// An answer, whole.
pub(super) type Answer = Response<Full<Bytes>>;

/// What the page may do: show what comes from here, ask here, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// On every answer.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// A text of some media type.
pub(super) fn text(media_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Answer::new(Full::new(body.into()));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    answer
}

/// A value as JSON.
pub(super) fn json(value: &impl Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(mut body) => {
            body.push(b'\n');
            text("application/json", body)
        }
        Err(error) => self::error(StatusCode::INTERNAL_SERVER_ERROR, error),
    }
}

/// What is wrong, in one sentence that may be shown to a person.
pub(super) fn error(status: StatusCode, words: impl std::fmt::Display) -> Answer {
    #[derive(Serialize)]
    struct Fault {
        error: String,
    }
    let mut answer = json(&Fault { error: words.to_string() });
    *answer.status_mut() = status;
    answer
}

/// The answer with what protects whoever gets it.
pub(super) fn sealed(mut answer: Answer) -> Answer {
    for (name, value) in HEADERS {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}
