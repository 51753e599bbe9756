//! Pure: answers made here: `return`, error pages, and the built-in pages.

use http::header::{self, HeaderMap};
use longwire_conf::model::{ErrorAnswer, Return, Settings};

use super::files::content_type;
use super::headers::{add_headers, header_value};
use super::redirect::{absolute, add_server, set_location};
use super::uri::text;
use super::variables::Scope;

/// An answer that is complete but for `Date`, `Content-Length` and `Connection`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Status on the wire.
    pub status: u16,
    /// Headers, with `add_header`.
    pub headers: HeaderMap,
    /// Body; empty for statuses that have none.
    pub body: Vec<u8>,
}

/// What `return` comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// 444, and as in nginx 408 and 499: the connection is closed without a word.
    Close,
    /// This goes out as it is.
    Reply(Reply),
    /// A status whose page is still to be sought: [`error_page`], else [`page`].
    Status {
        /// The status.
        status: u16,
        /// `Location` for the built-in page, as configured.
        location: Option<Vec<u8>>,
    },
}

/// Evaluates a `return`. Within an error page a [`Reply`] has the status that the page forces
/// ([`Outcome::forced`](super::facts::Outcome::forced)); a status that fails has a page of its own.
pub fn answer(rule: &Return, settings: &Settings, scope: &Scope<'_>) -> Answer {
    scope.answering(rule.code, HeaderMap::new(), |scope, sent| {
        let text = rule.text.as_ref().map(|text| scope.render(text));
        match (rule.code, text) {
            (444, _) | (408 | 499, None) => Answer::Close,
            (code @ (301 | 302 | 303 | 307 | 308), location) => {
                // nginx sends the header also where there is nothing to say.
                Answer::Status { status: code, location: Some(location.unwrap_or_default()) }
            }
            (code @ 400.., None) => Answer::Status { status: code, location: None },
            (_, body) => Answer::Reply(text_reply(sent, body.unwrap_or_default(), settings, scope)),
        }
    })
}

/// A page of plain text, whatever `default_type` says.
pub fn plain_text(body: Vec<u8>, settings: &Settings, scope: &Scope<'_>) -> Reply {
    scope.answering(200, HeaderMap::new(), |scope, status| {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, header_value(b"text/plain".to_vec()));
        finished(status, headers, body, settings, scope)
    })
}

fn text_reply(status: u16, body: Vec<u8>, settings: &Settings, scope: &Scope<'_>) -> Reply {
    if matches!(status, 204 | 304) {
        return finished(status, HeaderMap::new(), Vec::new(), settings, scope);
    }
    let mut headers = HeaderMap::new();
    let kind = content_type(settings, &scope.facts.uri);
    if !kind.is_empty() {
        headers.insert(header::CONTENT_TYPE, header_value(kind.as_bytes().to_vec()));
    }
    finished(status, headers, body, settings, scope)
}

/// What an `error_page` makes of a status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorStep {
    /// To a named location (written with `@`), the request as it is.
    Named {
        /// Its name.
        name: String,
        /// Status to send instead of what the location gives; `None`: what it gives.
        status: Option<u16>,
    },
    /// To another URI, with GET (HEAD stays HEAD). The location is sought anew, internal ones too.
    Internal {
        /// The new `$uri`.
        uri: String,
        /// The new `$args`.
        args: String,
        /// As for [`ErrorStep::Named`].
        status: Option<u16>,
    },
    /// A redirect that goes to the client at once: [`page`] with this status and `Location`.
    Redirect {
        /// 302 unless `=` says otherwise.
        status: u16,
        /// Where to.
        location: Vec<u8>,
    },
}

/// Looks for the `error_page` of a status. The caller asks once per request: an error within an error page gets
/// the built-in page.
pub fn error_page(settings: &Settings, status: u16, scope: &Scope<'_>) -> Option<ErrorStep> {
    let rule = settings.error_page.iter().find(|rule| rule.codes.contains(&status))?;
    let sent = match rule.answer {
        ErrorAnswer::Keep => Some(wire_status(status)),
        ErrorAnswer::Code(code) => Some(code),
        ErrorAnswer::Page => None,
    };
    let target = scope.answering(status, HeaderMap::new(), |scope, _| scope.render(&rule.target));
    Some(match target.first() {
        Some(b'/') => {
            let mut parts = target.splitn(2, |byte| *byte == b'?');
            let mut part = || text(parts.next().unwrap_or_default().to_vec());
            ErrorStep::Internal { uri: part(), args: part(), status: sent }
        }
        Some(b'@') => ErrorStep::Named { name: text(target), status: sent },
        _ => {
            let redirect = sent.filter(|code| matches!(code, 301 | 302 | 303 | 307 | 308));
            ErrorStep::Redirect { status: redirect.unwrap_or(302), location: target }
        }
    })
}

/// nginx's built-in page of a status, with a `Location` if there is one.
pub fn page(status: u16, location: Option<Vec<u8>>, settings: &Settings, scope: &Scope<'_>) -> Reply {
    let mut headers = HeaderMap::new();
    if let Some(url) = location {
        set_location(&mut headers, absolute(url, settings, scope));
    }
    let body = page_body(status, settings);
    if !body.is_empty() {
        headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static("text/html"));
    }
    let status = wire_status(status);
    // An error within an error page is sent as what it is.
    let mut facts = scope.facts.clone();
    facts.outcome.forced = None;
    finished(status, headers, body.into_bytes(), settings, &Scope { facts: &facts, ..*scope })
}

/// Completes an answer that is not made here by what every answer gets.
pub fn finished(
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
    settings: &Settings,
    scope: &Scope<'_>,
) -> Reply {
    let mut headers = headers;
    add_server(&mut headers, settings);
    add_headers(&mut headers, status, settings, scope);
    Reply { status, headers, body }
}

/// The body of a built-in page; empty for a status that has none.
pub fn page_body(status: u16, settings: &Settings) -> String {
    let Some(title) = title(status) else { return String::new() };
    // A status of nginx's own is a Bad Request that says more.
    let (heading, more) = match title.split_once(' ') {
        Some((_, detail)) if wire_status(status) != status => {
            ("400 Bad Request", format!("<center>{detail}</center>\r\n"))
        }
        _ => (title, String::new()),
    };
    let signature = signature(settings);
    format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{heading}</h1></center>\r\n\
         {more}<hr><center>{signature}</center>\r\n</body>\r\n</html>\r\n"
    )
}

/// What this server calls itself.
pub fn signature(settings: &Settings) -> &'static str {
    if settings.server_tokens { concat!("longwire/", env!("CARGO_PKG_VERSION")) } else { "longwire" }
}

/// The status on the wire: codes of nginx's own are 400 there.
pub fn wire_status(status: u16) -> u16 {
    if matches!(status, 494..=497) { 400 } else { status }
}

/// Title of a built-in page.
fn title(status: u16) -> Option<&'static str> {
    Some(match status {
        301 => "301 Moved Permanently",
        302 => "302 Found",
        303 => "303 See Other",
        307 => "307 Temporary Redirect",
        308 => "308 Permanent Redirect",
        400 => "400 Bad Request",
        401 => "401 Authorization Required",
        402 => "402 Payment Required",
        403 => "403 Forbidden",
        404 => "404 Not Found",
        405 => "405 Not Allowed",
        406 => "406 Not Acceptable",
        408 => "408 Request Time-out",
        409 => "409 Conflict",
        410 => "410 Gone",
        411 => "411 Length Required",
        412 => "412 Precondition Failed",
        413 => "413 Request Entity Too Large",
        414 => "414 Request-URI Too Large",
        415 => "415 Unsupported Media Type",
        416 => "416 Requested Range Not Satisfiable",
        421 => "421 Misdirected Request",
        429 => "429 Too Many Requests",
        494 => "400 Request Header Or Cookie Too Large",
        495 => "400 The SSL certificate error",
        496 => "400 No required SSL certificate was sent",
        497 => "400 The plain HTTP request was sent to HTTPS port",
        500 => "500 Internal Server Error",
        501 => "501 Not Implemented",
        502 => "502 Bad Gateway",
        503 => "503 Service Temporarily Unavailable",
        504 => "504 Gateway Time-out",
        505 => "505 HTTP Version Not Supported",
        507 => "507 Insufficient Storage",
        _ => return None,
    })
}

/// The reason phrase of the status line, as nginx words it; "" for a status it does not know.
pub fn reason(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Moved Temporarily",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Time-out",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Large",
        415 => "Unsupported Media Type",
        416 => "Requested Range Not Satisfiable",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Temporarily Unavailable",
        504 => "Gateway Time-out",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{facts, listed, settings, template, with_scope};
    use super::*;
    use longwire_conf::model::{AddHeader, ErrorPage};

    fn run(code: u16, text: Option<&str>) -> Answer {
        let rule = Return { code, text: text.map(template) };
        with_scope(&facts("/?q=5"), &[], |scope| answer(&rule, &settings(), scope))
    }

    fn reply(code: u16, text: Option<&str>) -> Reply {
        match run(code, text) {
            Answer::Reply(reply) => reply,
            other => unreachable!("{other:?}"),
        }
    }

    #[test]
    fn texts_go_out_as_they_are() {
        for (code, text) in
            [(200, Some("q=$arg_q")), (404, Some("q=5")), (418, Some("q=5")), (505, Some("q=5"))]
        {
            let reply = reply(code, text);
            assert_eq!((reply.status, reply.body.as_slice()), (code, &b"q=5"[..]));
            assert_eq!(listed(&reply.headers), ["content-type: text/plain", "server: longwire"]);
        }
        for code in [200, 201, 300] {
            assert_eq!((reply(code, None).status, reply(code, None).body), (code, Vec::new()));
        }
        for code in [204, 304] {
            let reply = reply(code, Some("ignored"));
            assert_eq!(
                (listed(&reply.headers), reply.body),
                (vec!["server: longwire".to_owned()], Vec::new())
            );
        }
    }

    #[test]
    fn an_error_page_is_sent_with_its_status() {
        let mut facts = facts("/");
        let rule = |code| Return { code, text: Some(template("is $status")) };
        let mut settings = settings();
        let add =
            |name: &str, always| AddHeader { name: name.to_owned(), value: template("$status"), always };
        settings.add_header = [add("a", false), add("b", true)].into();
        let mut run = |code, forced| {
            facts.outcome.forced = forced;
            match with_scope(&facts, &[], |scope| answer(&rule(code), &settings, scope)) {
                Answer::Reply(reply) => (reply.status, listed(&reply.headers).join("|"), reply.body),
                other => unreachable!("{other:?}"),
            }
        };
        let all = "a: 200|b: 200|content-type: text/plain|server: longwire".to_owned();
        assert_eq!(run(200, None), (200, all, b"is 200".to_vec()));
        let always = "b: 404|content-type: text/plain|server: longwire".to_owned();
        assert_eq!(run(200, Some(404)), (404, always, b"is 404".to_vec()));
        assert_eq!(run(201, Some(204)), (204, "a: 204|b: 204|server: longwire".to_owned(), Vec::new()));
        // The page fails itself.
        facts.outcome.forced = Some(404);
        let failed = with_scope(&facts, &[], |scope| page(503, None, &settings, scope));
        assert_eq!((failed.status, failed.headers.get("b").unwrap().as_bytes()), (503, &b"503"[..]));
    }

    #[test]
    fn other_returns_are_looked_at_further() {
        let status = |status, location: Option<&str>| Answer::Status {
            status,
            location: location.map(|url| url.as_bytes().to_vec()),
        };
        let table = [
            (301, Some("/foo?$args"), status(301, Some("/foo?q=5"))),
            (308, Some("http://o/"), status(308, Some("http://o/"))),
            (302, None, status(302, Some(""))),
            (404, None, status(404, None)),
            (418, None, status(418, None)),
            (444, None, Answer::Close),
            (444, Some("x"), Answer::Close),
            (408, None, Answer::Close),
            (499, None, Answer::Close),
        ];
        for (code, text, expected) in table {
            assert_eq!(run(code, text), expected, "{code}");
        }
    }

    #[test]
    fn built_in_pages_are_worded_as_in_nginx() {
        let expected = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n\
            <center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>longwire</center>\r\n</body>\r\n</html>\r\n";
        let facts = facts("/");
        let page = |status, location: Option<&str>| {
            let location = location.map(|url| url.as_bytes().to_vec());
            with_scope(&facts, &[], |scope| page(status, location, &settings(), scope))
        };
        assert_eq!(page(502, None).body, expected.as_bytes());
        assert_eq!(listed(&page(502, None).headers), ["content-type: text/html", "server: longwire"]);
        assert_eq!(page(494, None).status, 400);
        assert_eq!((page(418, None).status, listed(&page(418, None).headers).len()), (418, 1));
        let redirect = page(301, Some("/foo"));
        assert_eq!(redirect.headers.get("location").unwrap(), "http://example.com:8080/foo");
        // The lengths of nginx's own pages, but for the name of the server.
        let lengths = [
            (301, 169),
            (302, 145),
            (400, 157),
            (404, 153),
            (405, 157),
            (413, 183),
            (414, 177),
            (494, 233),
            (495, 215),
            (497, 255),
        ];
        for (status, length) in lengths {
            assert_eq!(
                page(status, None).body.len() - "longwire".len() + "nginx/1.22.1".len(),
                length,
                "{status}"
            );
        }
    }

    #[test]
    fn the_version_is_said_only_when_asked_for() {
        let mut settings = settings();
        assert_eq!(signature(&settings), "longwire");
        settings.server_tokens = true;
        assert!(signature(&settings).starts_with("longwire/"));
    }

    #[test]
    fn error_pages_do_what_nginx_does() {
        let internal = |uri: &str, args: &str, status| ErrorStep::Internal {
            uri: uri.to_owned(),
            args: args.to_owned(),
            status,
        };
        let redirect = |status| ErrorStep::Redirect { status, location: b"http://other/z".to_vec() };
        let table = [
            (404, ErrorAnswer::Keep, "/ep", internal("/ep", "", Some(404))),
            (404, ErrorAnswer::Code(200), "/ep", internal("/ep", "", Some(200))),
            (404, ErrorAnswer::Page, "/ep", internal("/ep", "", None)),
            (404, ErrorAnswer::Keep, "/ep?x=$arg_q", internal("/ep", "x=5", Some(404))),
            (494, ErrorAnswer::Keep, "/ep", internal("/ep", "", Some(400))),
            (404, ErrorAnswer::Keep, "http://other/z", redirect(302)),
            (404, ErrorAnswer::Code(301), "http://other/z", redirect(301)),
            (404, ErrorAnswer::Code(307), "http://other/z", redirect(307)),
            (404, ErrorAnswer::Code(200), "http://other/z", redirect(302)),
            (404, ErrorAnswer::Keep, "@nx", ErrorStep::Named { name: "@nx".to_owned(), status: Some(404) }),
            (404, ErrorAnswer::Page, "@nx", ErrorStep::Named { name: "@nx".to_owned(), status: None }),
        ];
        for (status, answer, target, expected) in table {
            let mut settings = settings();
            let target = template(target);
            settings.error_page = [ErrorPage { codes: vec![500, status], answer, target }].into();
            with_scope(&facts("/?q=5"), &[], |scope| {
                assert_eq!(error_page(&settings, status, scope), Some(expected.clone()));
                assert_eq!(error_page(&settings, 403, scope), None);
            });
        }
    }

    #[test]
    fn every_page_has_a_reason() {
        for status in 100..600 {
            assert!(title(status).is_none() || !reason(wire_status(status)).is_empty(), "{status}");
        }
    }
}
