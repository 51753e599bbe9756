//! Pure: the few words of Engine.IO and SockJS that are needed to open a session and to knock at it.

use serde_json::Value;

use super::{Refusal, Repeats};

/// A session that Engine.IO opened.
#[derive(PartialEq, Eq, Debug)]
pub struct Opened {
    /// Version of the protocol, by how the packet is framed.
    pub version: u8,
    /// The session's name.
    pub sid: String,
}

/// Reads the first answer of polling: `0{"sid":...}` in version 4, `97:0{"sid":...}` in version 3.
pub fn opened(body: &str) -> Option<Opened> {
    let (version, json) = match body.strip_prefix('0') {
        Some(json) => (4, json),
        None => {
            let (length, rest) = body.split_once(':')?;
            length.parse::<u32>().ok()?;
            (3, rest.strip_prefix('0')?)
        }
    };
    // Version 3 puts further packets behind the first.
    let mut values = serde_json::Deserializer::from_str(json).into_iter::<Value>();
    let value = values.next()?.ok()?;
    let sid = value.get("sid")?.as_str().filter(|sid| is_plain(sid))?;
    Some(Opened { version, sid: sid.to_owned() })
}

/// A session's name goes into the next request: only what needs no escape there.
fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 128
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~".contains(&b))
}

/// Reads Engine.IO's `{"code":5,"message":"Unsupported protocol version"}`.
pub fn refusal(body: &str) -> Option<Refusal> {
    let value: Value = serde_json::from_str(body).ok()?;
    let code = value.get("code")?.as_u64();
    Some(Refusal { code, message: value.get("message")?.as_str().unwrap_or_default().to_owned() })
}

/// A packet that does nothing (noop, 6): how the body of a knock looks.
pub fn knock(version: u8) -> &'static str {
    if version == 3 { "1:6" } else { "6" }
}

/// Notes what a knock at a session of socket.io brought.
pub fn note_socketio(repeats: &mut Repeats, status: Option<u16>, body: &str) {
    let unknown = refusal(body).is_some_and(|refusal| refusal.code == Some(1));
    note(repeats, status, status == Some(200), unknown);
}

/// Notes what a knock at a session of SockJS brought.
pub fn note_sockjs(repeats: &mut Repeats, status: Option<u16>) {
    note(repeats, status, matches!(status, Some(200 | 204)), status == Some(404));
}

fn note(repeats: &mut Repeats, status: Option<u16>, known: bool, unknown: bool) {
    repeats.asked += 1;
    if known {
        repeats.known += 1;
    } else if unknown {
        repeats.unknown += 1;
    } else {
        let text = status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
        if !repeats.other.contains(&text) {
            repeats.other.push(text);
        }
    }
}

/// `/info` of SockJS: whether WebSocket is on, and whether a cookie is needed.
pub fn info(body: &str) -> Option<(bool, bool)> {
    let value: Value = serde_json::from_str(body).ok()?;
    Some((
        value.get("websocket")?.as_bool()?,
        value.get("cookie_needed").and_then(Value::as_bool).unwrap_or(false),
    ))
}

/// Name and value of each cookie that an answer sets; what is deleted at once is left out.
pub fn cookies<'a>(set_cookie: impl Iterator<Item = &'a str>) -> Vec<(String, String)> {
    let pair = |line: &'a str| {
        let (name, value) = line.split(';').next()?.split_once('=')?;
        Some((name.trim().to_owned(), value.trim().to_owned()))
    };
    set_cookie.filter_map(pair).filter(|(name, value)| !name.is_empty() && !value.is_empty()).collect()
}

/// The folder that SockJS or socket.io serves, from the path of a URL: `/echo/websocket` and `/echo/000/abc/websocket`
/// stand for `/echo`.
pub fn sockjs_base(path: &str) -> String {
    let path = path.split('?').next().unwrap_or_default().trim_end_matches('/');
    let Some(base) = path.strip_suffix("/websocket") else { return path.to_owned() };
    let mut parts = base.rsplitn(3, '/');
    let (session, server, rest) = (parts.next(), parts.next(), parts.next());
    match (session, server, rest) {
        (Some(_), Some(server), Some(rest))
            if server.len() == 3 && server.bytes().all(|b| b.is_ascii_digit()) =>
        {
            rest.to_owned()
        }
        _ => base.to_owned(),
    }
}

/// The path of a handshake: where a client of socket.io would ask for a version and for WebSocket, and the URL does
/// not, that is put in.
pub fn handshake_path(path: &str) -> String {
    let (bare, query) = path.split_once('?').unwrap_or((path, ""));
    if !bare.trim_end_matches('/').ends_with("/socket.io")
        || query.contains("EIO=")
        || query.contains("transport=")
    {
        return path.to_owned();
    }
    let besides = if query.is_empty() { String::new() } else { format!("&{query}") };
    format!("{bare}?EIO=4&transport=websocket{besides}")
}

/// The version that a URL asks for, by its query.
pub fn version_of(path: &str) -> Option<u8> {
    let query = path.split_once('?')?.1;
    query.split('&').find_map(|pair| pair.strip_prefix("EIO="))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_open_a_session() {
        let four =
            opened(r#"0{"sid":"aB-_1","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000}"#);
        assert_eq!(four, Some(Opened { version: 4, sid: "aB-_1".into() }));
        let three =
            opened(r#"96:0{"sid":"x","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":5000}2:40"#);
        assert_eq!(three, Some(Opened { version: 3, sid: "x".into() }));
        for body in
            ["", "0", "<html>", r#"0{"sid":"a&b"}"#, r#"0{"sid":""}"#, r#"x:0{"sid":"a"}"#, "0{", "96:1"]
        {
            assert_eq!(opened(body), None, "{body}");
        }
    }

    #[test]
    fn a_knock_is_known_unknown_or_something_else() {
        let mut repeats = Repeats::default();
        note_socketio(&mut repeats, Some(200), "ok");
        for _ in 0..2 {
            note_socketio(&mut repeats, Some(400), r#"{"code":1,"message":"Session ID unknown"}"#);
        }
        note_socketio(&mut repeats, Some(400), r#"{"code":3,"message":"Bad request"}"#);
        note_socketio(&mut repeats, Some(502), "<html>");
        note_socketio(&mut repeats, Some(502), "<html>");
        note_socketio(&mut repeats, None, "");
        assert_eq!((repeats.asked, repeats.known, repeats.unknown), (7, 1, 2));
        assert_eq!(repeats.other, ["400", "502", "no answer"]);
        let mut repeats = Repeats::default();
        for status in [204, 404, 500] {
            note_sockjs(&mut repeats, Some(status));
        }
        assert_eq!((repeats.known, repeats.unknown, repeats.other), (1, 1, vec!["500".into()]));
    }

    #[test]
    fn cookies_come_without_their_attributes() {
        let lines = ["io=abc; Path=/; HttpOnly", "AWSALB=x=y; Expires=Mon", "gone=; Max-Age=0", "nothing"];
        let found = cookies(lines.into_iter());
        assert_eq!(found, [("io".into(), "abc".into()), ("AWSALB".into(), "x=y".into())]);
    }

    #[test]
    fn the_folder_of_sockjs_is_found() {
        for (path, base) in [
            ("/echo", "/echo"),
            ("/echo/", "/echo"),
            ("/echo/websocket", "/echo"),
            ("/a/echo/000/xyz/websocket?x=1", "/a/echo"),
            ("/a/echo/websocket", "/a/echo"),
            ("/", ""),
        ] {
            assert_eq!(sockjs_base(path), base, "{path}");
        }
        assert_eq!(version_of("/socket.io/?EIO=3&transport=websocket"), Some(3));
        assert_eq!(version_of("/socket.io/"), None);
        assert_eq!(handshake_path("/socket.io/?a=1"), "/socket.io/?EIO=4&transport=websocket&a=1");
        for path in ["/socket.io/?EIO=3&transport=websocket", "/ws", "/ws?x=/socket.io"] {
            assert_eq!(handshake_path(path), path);
        }
    }
}
