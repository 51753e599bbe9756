//! `longwire ls` and `longwire close`: the API in the terminal.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use serde_json::Value;
use support::{Backend, Conn, Folder, Longwire, admin, longwire, run, until};

/// Runs a command and gives status, output and complaint.
fn command(line: &str, more: &[&str]) -> (Option<i32>, String, String) {
    run(longwire().args(line.split_whitespace()).args(more))
}

#[test]
fn tunnels_are_listed_and_closed() {
    let backend = Backend::echo();
    let folder = Folder::new();
    let configuration =
        format!("admin unix:DIR/admin.sock;\nadmin {};\n{}", admin::LISTEN, support::site(backend, ""));
    let process = Longwire::start_in(folder, &configuration, &[]);
    let mut clients: Vec<_> = (0..3).map(|_| Conn::open(process.addr_on("127.0.0.1"))).collect();
    let at = admin::of(&process).to_string();
    until("all are there", || admin::get(admin::of(&process), "/api/tunnels").1["open"] == 3);
    let (status, table, _) = command("ls --admin", &[&at]);
    assert_eq!((status, table.lines().count()), (Some(0), 4), "{table}");
    assert!(
        table.starts_with("ID ") && table.contains(&clients[0].tcp().local_addr().unwrap().to_string()),
        "{table}"
    );
    let (_, text, _) = command("ls --json --sort -id --limit 2 --admin", &[&format!("http://{at}/")]);
    let list: Value = serde_json::from_str(&text).unwrap();
    let id = list[0]["id"].to_string();
    assert!(list.as_array().unwrap().len() == 2 && list[0]["id"].as_u64() > list[1]["id"].as_u64(), "{list}");
    // By TCP nothing can be changed here; by the Unix socket of the configuration it can.
    let (status, _, said) = command("close --admin", &[&at, &id]);
    assert!(status == Some(1) && said.contains("token=FILE"), "{said}");
    let file = process.folder().path().join("longwire.conf").display().to_string();
    let (status, out, said) = command("close --code 4001 -c", &[&file, "--reason", "sit down", &id]);
    assert_eq!((status, said.as_str()), (Some(0), ""), "{out}");
    assert_eq!(&clients[2].expect_close(4001).payload[2..], b"sit down");
    until("it is gone", || command("close -c", &[&file, &id]).2.contains("is not open"));
    let (status, _, said) = command("close -c", &[&file]);
    assert!(status == Some(2) && said.contains("which tunnels?"), "{said}");
    let client = clients[0].tcp().local_addr().unwrap().to_string();
    let (_, out, said) = command("close -q", &[&client, "-c", &file]);
    assert!(out.starts_with("1 tunnels are told to close"), "{out}{said}");
    clients[0].expect_close(1000);
    let (_, out, _) = command("close --all --rate 1000 -c", &[&file]);
    assert!(out.starts_with("1 tunnels"), "{out}");
    clients[1].expect_close(1000);
}

#[test]
fn what_is_in_the_way_is_said() {
    let nobody = support::backend::nobody().to_string();
    let (status, _, said) = command("ls --admin", &[&nobody]);
    assert!(status == Some(2) && said.contains("does Longwire run"), "{said}");
    let folder = Folder::new();
    let file = folder.write("longwire.conf", "server { listen 127.0.0.1:0; }\n");
    let (status, _, said) = command("ls -c", &[&file.display().to_string()]);
    assert!(status == Some(2) && said.contains("has no \"admin\""), "{said}");
    let (status, _, said) = command("ls --colour red", &[]);
    assert!(status == Some(2) && said.contains("--colour"), "{said}");
    assert!(command("ls -h", &[]).1.contains("--min-rtt") && command("close -h", &[]).1.contains("--rate"));
}
