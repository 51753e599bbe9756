//! What programs ask of the admin address: tunnels listed, found, closed; servers drained and taken back.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::net::SocketAddr;

use serde_json::{Value, json};
use support::frames::CLOSE;
use support::instance::{Instance, group, tunnel};
use support::lineage::Lineage;
use support::{Backend, Conn, Folder, Longwire, admin, until};

const TOKEN: &str = "a-token-for-the-tests-0123456789";

/// A process with these servers and locations, and an admin address with a token.
fn start(rest: &str) -> (Longwire, SocketAddr) {
    let folder = Folder::new();
    folder.write("token", TOKEN);
    let configuration = format!("admin {} token=DIR/token;\n{rest}", admin::LISTEN);
    let longwire = Longwire::start_in(folder, &configuration, &[]);
    let addr = admin::of(&longwire);
    (longwire, addr)
}

fn post(addr: SocketAddr, path: &str, body: &Value) -> (u16, Value) {
    admin::post(addr, path, body, Some(TOKEN))
}

/// The tunnels of a list, by number.
fn ids(list: &Value) -> Vec<u64> {
    list["tunnels"].as_array().unwrap().iter().map(|row| row["id"].as_u64().unwrap()).collect()
}

/// Two locations with one echo backend each, and so many tunnels through each.
fn two_rooms(each: usize) -> (Longwire, SocketAddr, Vec<Vec<Conn>>) {
    let backends = [Backend::echo(), Backend::echo()];
    let location = |path: &str, to| format!("location {path} {{ proxy_pass http://{to}; }}");
    let (a, b) = (location("/a/", backends[0]), location("/b/", backends[1]));
    let (longwire, addr) =
        start(&format!("server {{ listen 127.0.0.1:0; server_name rooms.example; {a} {b} }}\n"));
    let open = |path: &str| {
        let mut conn = Conn::connect(longwire.addr_on("127.0.0.1"));
        conn.send(support::frames::upgrade_request(path, ""));
        conn.expect_tunnel();
        conn
    };
    let rooms = ["/a/", "/b/"].map(|path| (0..each).map(|_| open(path)).collect()).into();
    until("all tunnels are there", || admin::get(addr, "/api/tunnels").1["open"] == json!(2 * each));
    (longwire, addr, rooms)
}

#[test]
fn tunnels_are_listed_page_by_page() {
    let (_longwire, addr, mut rooms) = two_rooms(5);
    rooms[0][0].expect_echo("hello");
    let (status, list) = admin::get(addr, "/api/tunnels");
    assert_eq!(
        (status, &list["total"], &list["open"], &list["next"]),
        (200, &json!(10), &json!(10), &Value::Null)
    );
    let row = &list["tunnels"][0];
    assert_eq!((&row["server"], &row["location"]), (&json!("rooms.example"), &json!("/a/")), "{row}");
    assert_eq!((&row["state"], &row["messages"]["from_client"]), (&json!("open"), &json!(1)), "{row}");
    assert_eq!(row["client"].as_str(), rooms[0][0].tcp().local_addr().unwrap().to_string().as_str().into());
    assert!(row["idle"].as_f64().unwrap() <= row["age"].as_f64().unwrap(), "{row}");
    // By pages, each tunnel once.
    let (mut seen, mut after) = (Vec::new(), String::new());
    for _ in 0..10 {
        let (_, page) = admin::get(addr, &format!("/api/tunnels?limit=3&sort=-id{after}"));
        seen.extend(ids(&page));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    let mut all = ids(&list);
    all.reverse();
    assert_eq!(seen, all);
    // Only some, and what is one is found by its number.
    let (_, list) =
        admin::get(addr, "/api/tunnels?location=%2Fb%2F&client=127.0.0.0%2F8&state=open&min_age=0");
    assert_eq!((ids(&list).len(), &list["total"], &list["open"]), (5, &json!(5), &json!(10)));
    let id = ids(&list)[0];
    let (status, one) = admin::get(addr, &format!("/api/tunnels/{id}"));
    assert_eq!((status, &one["location"]), (200, &json!("/b/")));
    assert_eq!(admin::get(addr, "/api/tunnels/99999").0, 404);
    assert_eq!(admin::get(addr, "/api/tunnels/x").0, 400);
    let (status, said) = admin::get(addr, "/api/tunnels?colour=red");
    assert!(status == 400 && said["error"].as_str().unwrap().contains("colour"), "{said}");
}

#[test]
fn a_tunnel_is_closed_with_code_and_reason() {
    let backend = Backend::new();
    let (longwire, addr) = start(&support::site(backend.addr(), ""));
    let (mut client, mut server) = longwire_tunnel(&longwire, &backend);
    let id = ids(&admin::get(addr, "/api/tunnels").1)[0];
    let path = format!("/api/tunnels/{id}/close");
    for wrong in
        [json!({"code": 1005}), json!({"code": 999}), json!({"reason": "x".repeat(124)}), json!({"kode": 1})]
    {
        assert_eq!(post(addr, &path, &wrong).0, 400, "{wrong}");
    }
    let (status, row) = post(addr, &path, &json!({"code": 4001, "reason": "moved to room 7"}));
    assert_eq!((status, &row["state"]), (200, &json!("closing")), "{row}");
    assert_eq!(row["ending"], json!({"by": "proxy", "cause": "closed by an operator"}));
    for end in [&mut client, &mut server] {
        let frame = end.expect_close(4001);
        assert_eq!((frame.opcode, &frame.payload[2..]), (CLOSE, &b"moved to room 7"[..]));
    }
    client.expect_end();
    longwire.wait_log(&["admin: tunnel", "is closed with 4001", "\"moved to room 7\"", "127.0.0.1"]);
    longwire.wait_log(&["tunnel ended by the proxy: closed by an operator", "told Close 4001"]);
    until("it has left the table", || post(addr, &path, &json!({})).0 == 404);
}

fn longwire_tunnel(longwire: &Longwire, backend: &Backend) -> (Conn, Conn) {
    let mut client = Conn::knock(longwire.addr_on("127.0.0.1"), "");
    let (server, _) = backend.tunnel();
    client.expect_tunnel();
    until("it is in the table", || admin::get(admin::of(longwire), "/api/tunnels").1["open"] == json!(1));
    (client, server)
}

#[test]
fn some_are_closed_at_a_rate() {
    let (longwire, addr, mut rooms) = two_rooms(20);
    assert_eq!(post(addr, "/api/tunnels/close", &json!({})).0, 400, "all are meant by nobody");
    assert_eq!(post(addr, "/api/tunnels/close", &json!({"filter": {"colour": "red"}})).0, 400);
    assert_eq!(post(addr, "/api/tunnels/close", &json!({"all": true, "rate": 0})).0, 400);
    let body = json!({"filter": {"location": "/b/"}, "code": 1012, "reason": "back soon", "rate": 10});
    let begun = std::time::Instant::now();
    let (status, said) = post(addr, "/api/tunnels/close", &body);
    assert_eq!((status, &said), (200, &json!({"count": 20, "over": 2.0})));
    let (_, list) = admin::get(addr, "/api/tunnels?location=%2Fb%2F");
    let planned = list["tunnels"].as_array().unwrap().iter().filter(|row| row["closes_at"].is_f64()).count();
    assert!(planned > 0, "they go one after the other: {list}");
    for client in &mut rooms[1] {
        assert_eq!(&client.expect_close(1012).payload[2..], b"back soon");
    }
    support::between(begun.elapsed(), 1000, 10_000);
    for client in &mut rooms[0] {
        client.expect_echo("here");
    }
    longwire.wait_log(&["admin: 20 tunnels, 10 a second, are closed with 1012"]);
    let (_, said) = post(addr, "/api/tunnels/close", &json!({"all": true, "rate": 1000}));
    assert_eq!(said["count"], 20);
    for client in &mut rooms[0] {
        client.expect_close(1000);
    }
}

#[test]
fn a_server_is_drained_and_taken_back() {
    let instances = Instance::several(2);
    let (a, b) = (&instances[0], &instances[1]);
    let configuration = group(&[a, b], "", "", "websocket_drain 30s;");
    let (longwire, addr) = start(&configuration);
    let served = longwire.addr_on("127.0.0.1");
    let tunnels: Vec<_> = (0..8).map(|_| tunnel(served, "")).collect();
    assert_eq!((a.tunnels(), b.tunnels()), (4, 4));
    let path = |server: &Instance, act: &str| format!("/api/upstreams/app/{}/{act}", server.addr);
    let standing = |server: &Instance| {
        let (_, groups) = admin::get(addr, "/api/upstreams");
        let servers = groups[0]["servers"].as_array().unwrap().clone();
        servers.into_iter().find(|shown| shown["server"] == server.addr.to_string()).unwrap()
    };
    until("all are counted", || standing(a)["tunnels"] == 4);
    assert_eq!(standing(a)["state"], "up");
    let (status, said) = post(addr, &path(a, "drain"), &json!({}));
    assert_eq!((status, &said["state"], &said["leaving"]), (200, &json!("draining"), &json!(4)), "{said}");
    assert_eq!((&standing(a)["state"], &standing(b)["state"]), (&json!("draining"), &json!("up")));
    let planned = |server: &Instance| {
        let (_, list) = admin::get(addr, &format!("/api/tunnels?backend={}", server.addr));
        list["tunnels"].as_array().unwrap().iter().filter(|row| !row["closes_at"].is_null()).count()
    };
    assert_eq!(planned(b), 0);
    assert!(planned(a) > 2, "they go over half a minute");
    let more: Vec<_> = (0..4).map(|_| tunnel(served, "")).collect();
    assert_eq!(b.tunnels(), 8, "no new tunnels come to the other one");
    // It is wanted again: whoever is still there stays, and new ones come.
    assert_eq!(post(addr, &path(a, "return"), &json!({})).0, 200);
    assert_eq!((planned(a), &standing(a)["state"]), (0, &json!("up")));
    let (_, head) = tunnel(served, "");
    let (_, other) = tunnel(served, "");
    let mut names = [head.get("x-instance"), other.get("x-instance")];
    names.sort_unstable();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(post(addr, "/api/upstreams/app/127.0.0.1:1/drain", &json!({})).0, 404);
    assert_eq!(post(addr, "/api/upstreams/other/x/drain", &json!({})).0, 404);
    // A reload goes by the file.
    post(addr, &path(b, "drain"), &json!({}));
    longwire.reload(&format!("admin {} token=DIR/token;\n{configuration}", admin::LISTEN));
    assert_eq!(standing(b)["state"], "up");
    drop((tunnels, more));
}

#[test]
fn the_configuration_is_shown_without_its_secrets() {
    let server = |secret: &str| {
        format!(
            "server {{ listen 127.0.0.1:0; location / {{ return 200; }}\n location /a {{ proxy_pass http://127.0.0.1:1; \
             proxy_set_header Authorization \"Basic {secret}\"; }} }}\n"
        )
    };
    let (longwire, addr) = start(&server("c2VjcmV0"));
    let text = || {
        let (status, shown) = admin::get(addr, "/api/configuration");
        assert_eq!(status, 200);
        let file = &shown["files"][0];
        assert!(file["path"].as_str().unwrap().ends_with("longwire.conf"), "{file}");
        file["text"].as_str().unwrap().to_owned()
    };
    let shown = text();
    assert!(shown.contains("proxy_set_header Authorization ***;") && !shown.contains("c2VjcmV0"), "{shown}");
    longwire.reload(&format!("admin {} token=DIR/token;\n# another one\n{}", admin::LISTEN, server("bmV1")));
    assert!(text().contains("# another one"), "{}", text());
}

/// The next process of the program listens on the same sockets, and has the tunnels with what was planned for them.
#[test]
fn an_upgrade_changes_nothing() {
    let backend = Backend::new();
    let folder = Folder::new();
    folder.write("token", TOKEN);
    let configuration = format!(
        "pid DIR/longwire.pid;\nevents {{}}\nhttp {{\nadmin {} token=DIR/token;\nadmin unix:DIR/admin.sock;\n{}}}\n",
        admin::LISTEN,
        support::site(backend.addr(), "")
    );
    let line = Lineage::start(folder, &configuration, &[]);
    let addr = admin::of(&line.longwire);
    let (mut client, mut server) = longwire_tunnel(&line.longwire, &backend);
    let before = admin::get(addr, "/api/tunnels").1["tunnels"][0].clone();
    let body = json!({"all": true, "code": 4005, "reason": "later, by the next one", "rate": 0.0005});
    assert_eq!(post(addr, "/api/tunnels/close", &body).1["count"], 1);
    let upgraded = line.upgrade();
    line.wait_gone(upgraded.before);
    assert_eq!(admin::get(addr, "/api").1["pid"], upgraded.now);
    let (_, row) = admin::get(addr, &format!("/api/tunnels/{}", before["id"]));
    assert!(row["client"] == before["client"] && row["closes_at"].is_f64(), "{row}");
    assert!(row["age"].as_f64() > before["age"].as_f64(), "{row}");
    std::os::unix::net::UnixStream::connect(line.folder().path().join("admin.sock")).unwrap();
    client.send_text("still here");
    assert_eq!(server.read_frame().text(), "still here");
    // Told anew, it goes at once; what was said before does not come after it.
    let (status, row) = post(addr, &format!("/api/tunnels/{}/close", before["id"]), &json!({"code": 1001}));
    assert_eq!((status, &row["state"]), (200, &json!("closing")), "{row}");
    client.expect_close(1001);
}
