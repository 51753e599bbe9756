//! Files: what is sent of them, what is said of them, and what is never sent.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::time::{Duration, UNIX_EPOCH};

use support::conn::get;
use support::{Conn, Folder, Longwire};

const DIRECTIVES: &str = r#"
    server_tokens off; absolute_redirect off; root DIR/www;
    server { listen 127.0.0.1:0;
        include mime.types;
        error_page 403 /denied.txt;
        location = /denied.txt { internal; }
        location /alias/ { alias DIR/www/dir/; }
        location /slip { alias DIR/www/dir/; }
        location ~ ^/one/(?<name>.*)$ { alias DIR/www/$name; }
        location /keep/ { alias DIR/www/; expires 1h; add_header X-Own yes; add_header Cache-Control public; }
        location /errors/ { error_page 404 =200 /file.txt; error_page 405 /gone.html; return 404; }
    }
"#;

fn run() -> Longwire {
    let folder = Folder::new();
    for name in ["www/dir/sub", "www/empty"] {
        std::fs::create_dir_all(folder.path().join(name)).unwrap();
    }
    let written = [
        folder.write("www/file.txt", "0123456789"),
        folder.write("www/dir/index.html", "<p>index"),
        folder.write("www/dir/sub/deep.txt", "deep"),
        folder.write("www/denied.txt", "denied"),
        folder.write("www/large.bin", vec![b'x'; 3_000_000]),
        folder.write("www/none", ""),
    ];
    for path in written {
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(1_700_000_000)).unwrap();
    }
    folder.write("secret.txt", "secret");
    std::os::unix::fs::symlink("file.txt", folder.path().join("www/link.txt")).unwrap();
    Longwire::start_in(folder, DIRECTIVES, &[])
}

fn ask(longwire: &Longwire, method: &str, target: &str, headers: &str) -> (support::Head, String) {
    let request = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
    Conn::connect(longwire.addr()).ask(&request)
}

#[test]
fn a_file_is_described_as_by_nginx() {
    let longwire = run();
    let (head, body) = get(longwire.addr(), "/file.txt");
    assert_eq!((head.start.as_str(), body.as_str()), ("HTTP/1.1 200 OK", "0123456789"));
    let expected = [
        ("content-type", "text/plain"),
        ("content-length", "10"),
        ("last-modified", "Tue, 14 Nov 2023 22:13:20 GMT"),
        ("etag", "\"6553f100-a\""),
        ("accept-ranges", "bytes"),
        ("server", "longwire"),
    ];
    for (name, value) in expected {
        assert_eq!(head.get(name), value);
    }
    assert_eq!(get(longwire.addr(), "/link.txt").1, "0123456789");
    assert_eq!(get(longwire.addr(), "/none").1, "");
    let (head, body) = get(longwire.addr(), "/large.bin");
    assert_eq!(
        (head.get("content-length"), head.get("content-type")),
        ("3000000", "application/octet-stream")
    );
    assert!(body.len() == 3_000_000 && body.bytes().all(|byte| byte == b'x'));
}

#[test]
fn what_is_asked_for_decides() {
    let longwire = run();
    let table = [
        ("GET", "/dir/", 200, "<p>index"),
        ("GET", "/dir?a=b", 301, "/dir/?a=b"),
        ("GET", "/alias/", 200, "<p>index"),
        ("GET", "/alias/sub", 301, "/alias/sub/"),
        ("GET", "/one/file.txt", 200, "0123456789"),
        ("GET", "/one/dir/index.html", 200, "<p>index"),
        ("GET", "/empty/", 403, "denied"),
        ("GET", "/missing", 404, "page"),
        ("GET", "/missing/", 404, "page"),
        ("GET", "/file.txt/", 404, "page"),
        ("GET", "/file.txt/x", 404, "page"),
        ("GET", "/denied.txt", 404, "page"),
        ("GET", "/errors/", 200, "0123456789"),
        ("POST", "/file.txt", 405, "page"),
        ("POST", "/missing", 404, "page"),
        ("PUT", "/file.txt", 405, "page"),
        ("DELETE", "/dir/", 405, "page"),
        // Nobody leaves the folder, whatever the configuration forgot.
        ("GET", "/slip../file.txt", 403, "denied"),
        ("GET", "/slip../../secret.txt", 404, "page"),
        ("GET", "/one/..%2F..%2Fsecret.txt", 400, "page"),
        ("GET", "/%2e%2e/secret.txt", 400, "page"),
        ("GET", "/file.txt%00", 400, "page"),
    ];
    for (method, target, status, expected) in table {
        let (head, body) = ask(&longwire, method, target, "");
        let shown = if head.has("location") { head.get("location") } else { body.as_str() };
        let shown = if shown.starts_with("<html>") { "page" } else { shown };
        assert_eq!((head.status(), shown), (status, expected), "{method} {target}");
    }
    longwire.wait_log(&[
        "[error]",
        "open() \"",
        "/www/missing\" failed (2: No such file or directory), client: 127.0.0.1",
    ]);
    longwire.wait_log(&["[error]", "directory index of \"", "/www/empty/\" is forbidden"]);
    longwire.wait_log(&["[error]", "/www/missing/index.html\" is not found (2: No such file or directory)"]);
}

#[test]
fn conditions_and_ranges_are_kept() {
    let longwire = run();
    let tag = "\"6553f100-a\"";
    let table = [
        (format!("If-None-Match: {tag}"), 304, ""),
        ("If-Modified-Since: Tue, 14 Nov 2023 22:13:20 GMT".to_owned(), 304, ""),
        ("If-Match: \"x\"".to_owned(), 412, "page"),
        ("Range: bytes=2-4".to_owned(), 206, "234"),
        ("Range: bytes=-2".to_owned(), 206, "89"),
        ("Range: bytes=20-".to_owned(), 416, "page"),
        (format!("Range: bytes=2-4\r\nIf-Range: {tag}"), 206, "234"),
        ("Range: bytes=2-4\r\nIf-Range: \"x\"".to_owned(), 200, "0123456789"),
    ];
    for (headers, status, expected) in table {
        let (head, body) = ask(&longwire, "GET", "/file.txt", &format!("{headers}\r\n"));
        let shown = if body.starts_with("<html>") { "page" } else { body.as_str() };
        assert_eq!((head.status(), shown), (status, expected), "{headers}");
    }
    let (head, _) = ask(&longwire, "GET", "/file.txt", "Range: bytes=2-4\r\n");
    assert_eq!((head.get("content-range"), head.get("content-length")), ("bytes 2-4/10", "3"));
    let (head, body) = ask(&longwire, "GET", "/file.txt", "Range: bytes=0-1,8-\r\n");
    let boundary = head.get("content-type").strip_prefix("multipart/byteranges; boundary=").unwrap();
    let piece = |range: &str, bytes: &str| {
        format!(
            "\r\n--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes {range}/10\r\n\r\n{bytes}"
        )
    };
    assert_eq!(body, format!("{}{}\r\n--{boundary}--\r\n", piece("0-1", "01"), piece("8-9", "89")));
    let mut client = Conn::connect(longwire.addr());
    client.send("HEAD /file.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let head = client.read_head();
    assert_eq!((head.status(), head.get("content-length")), (200, "10"));
    client.expect_end();
}

#[test]
fn headers_are_added_to_files() {
    let longwire = run();
    let (head, _) = get(longwire.addr(), "/keep/file.txt");
    assert_eq!((head.all("cache-control"), head.get("x-own")), (vec!["max-age=3600", "public"], "yes"));
    assert!(head.has("expires"));
    let (head, _) = get(longwire.addr(), "/keep/missing");
    assert!(!head.has("expires") && !head.has("x-own") && !head.has("cache-control"));
}

/// A client that reads slowly holds no file in memory.
#[test]
fn a_slow_reader_costs_no_memory() {
    let longwire = run();
    let before = longwire.memory_kib();
    let mut clients: Vec<Conn> = (0..20).map(|_| Conn::connect(longwire.addr())).collect();
    for client in &mut clients {
        client.send("GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.read_head().status(), 200);
    }
    let grown = longwire.memory_kib() - before;
    assert!(grown < 16 * 1024, "{grown} KiB more for 20 clients and 60 MB");
    for client in &mut clients {
        client.end();
    }
}
