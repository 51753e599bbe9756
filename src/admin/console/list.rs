//! `longwire ls`: pages of the API as one list.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::client::Client;
use super::good;

/// The most rows of a page of the API.
const PAGE: usize = 1000;

/// What was found.
pub(super) struct Found {
    tunnels: Vec<Value>,
    /// How many the filter means.
    total: u64,
}

/// Asks page by page.
pub(super) fn gather(
    client: &Client,
    filter: &[(String, String)],
    sort: Option<&str>,
    limit: usize,
) -> Result<Found, String> {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let mut query: String =
        filter.iter().map(|(name, value)| format!("&{name}={}", encoded(value))).collect();
    query.extend(sort.map(|sort| format!("&sort={}", encoded(sort))));
    let mut found = Found { tunnels: Vec::new(), total: 0 };
    let mut after = String::new();
    loop {
        let rest = limit.saturating_sub(found.tunnels.len()).clamp(1, PAGE);
        let page = good(client.get(&format!("/api/tunnels?limit={rest}{query}{after}"))?)?;
        found.total = page["total"].as_u64().unwrap_or_default();
        found.tunnels.extend(page["tunnels"].as_array().into_iter().flatten().cloned());
        match page["next"].as_str() {
            Some(next) if found.tunnels.len() < limit => after = format!("&after={}", encoded(next)),
            _ => return Ok(found),
        }
    }
}

/// As an array, one tunnel a line.
pub(super) fn json(found: &Found) -> String {
    let lines: Vec<String> = found.tunnels.iter().map(Value::to_string).collect();
    format!("[{}]\n", lines.join(",\n "))
}

const HEADS: [&str; 9] = ["ID", "CLIENT", "ROUTE", "BACKEND", "STATE", "AGE", "IDLE", "RTT", "MESSAGES"];

/// As a table for the eye.
pub(super) fn table(found: &Found) -> String {
    let rows: Vec<[String; 9]> = found.tunnels.iter().map(cells).collect();
    let mut widths = HEADS.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &[String; 9]| {
        let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let mut text = line(&HEADS.map(str::to_owned));
    rows.iter().for_each(|row| text.push_str(&line(row)));
    let shown = rows.len() as u64;
    if shown < found.total {
        text.push_str(&format!("{shown} of {} shown: --limit N shows more\n", found.total));
    }
    text
}

fn cells(row: &Value) -> [String; 9] {
    let text = |name: &str| row[name].as_str().unwrap_or_default();
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    let rtt = [&row["rtt"]["client"], &row["rtt"]["backend"]].map(|rtt| match rtt.as_f64() {
        Some(seconds) => format!("{:.1}", seconds * 1000.0),
        None => "-".to_owned(),
    });
    let messages = &row["messages"];
    [
        number(&row["id"]).to_string(),
        text("client").to_owned(),
        format!("{}{}", text("server"), text("location")),
        format!("{} {}", text("upstream"), text("backend")),
        if row["closes_at"].is_f64() { "closes soon".to_owned() } else { text("state").to_owned() },
        duration(row["age"].as_f64()),
        duration(row["idle"].as_f64()),
        format!("{}/{} ms", rtt[0], rtt[1]),
        format!("{}/{}", number(&messages["from_client"]), number(&messages["from_backend"])),
    ]
}

/// A time with its two largest units.
fn duration(seconds: Option<f64>) -> String {
    let Some(seconds) = seconds else { return "-".to_owned() };
    let whole = seconds as u64;
    match whole {
        0..60 => format!("{seconds:.1}s"),
        60..3600 => format!("{}m{:02}s", whole / 60, whole % 60),
        3600..86_400 => format!("{}h{:02}m", whole / 3600, whole / 60 % 60),
        _ => format!("{}d{:02}h", whole / 86_400, whole / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_table_is_for_the_eye() {
        let row = json!({"id": 7, "client": "192.0.2.1:5", "server": "a", "location": "/ws", "upstream": "app",
            "backend": "127.0.0.1:3000", "state": "open", "age": 3723.5, "idle": 0.25,
            "rtt": {"client": 0.0123, "backend": null}, "messages": {"from_client": 1, "from_backend": 20}});
        let shown = table(&Found { tunnels: vec![row], total: 3 });
        assert_eq!(
            shown,
            "ID  CLIENT       ROUTE  BACKEND             STATE  AGE    IDLE  RTT        MESSAGES\n\
             7   192.0.2.1:5  a/ws   app 127.0.0.1:3000  open   1h02m  0.2s  12.3/- ms  1/20\n\
             1 of 3 shown: --limit N shows more\n"
        );
    }
}
