//! Pure: what servers listen on, and by which names they are told apart.

use crate::tree::Directive;

use super::site::Site;

/// A `listen` of a server, or the one that nginx takes when there is none.
#[derive(Debug, Clone)]
pub(crate) struct Listen<'t> {
    /// Address and port, in one spelling for all that mean the same.
    pub(crate) address: String,
    /// Its directive.
    pub(crate) said: Option<&'t Directive>,
}

impl Listen<'_> {
    /// Whether it has this parameter.
    pub(crate) fn has(&self, parameter: &str) -> bool {
        self.said.is_some_and(|said| said.args.iter().skip(1).any(|word| word.value == parameter))
    }

    /// The value of a parameter such as `so_keepalive=on`.
    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        let words = self.said.map_or(&[][..], |said| &said.args[..]);
        words.iter().find_map(|word| word.value.strip_prefix(name)?.strip_prefix('='))
    }

    /// Whether it has options of the socket, which only one `listen` of an address may have.
    pub(crate) fn has_options(&self) -> bool {
        const OPTIONS: &[&str] = &[
            "so_keepalive",
            "backlog",
            "rcvbuf",
            "sndbuf",
            "fastopen",
            "setfib",
            "accept_filter",
            "ipv6only",
        ];
        const WORDS: &[&str] = &["deferred", "bind", "reuseport"];
        WORDS.iter().any(|word| self.has(word)) || OPTIONS.iter().any(|name| self.option(name).is_some())
    }

    /// Its port, unless it is a Unix socket.
    pub(crate) fn port(&self) -> Option<String> {
        if self.address.starts_with("unix:") {
            None
        } else {
            Some(self.address.rsplit_once(':')?.1.to_owned())
        }
    }
}

/// What a server listens on.
pub(crate) fn listens<'t>(site: &Site<'t>, server: usize) -> Vec<Listen<'t>> {
    let said = site.blocks[server].all("listen").filter_map(|said| Some((said, said.args.first()?)));
    let listens: Vec<Listen<'t>> =
        said.map(|(said, word)| Listen { address: address(&word.value), said: Some(said) }).collect();
    if listens.is_empty() { vec![Listen { address: "*:80".into(), said: None }] } else { listens }
}

/// The names of a server, in small letters; one without any has the empty name.
pub(crate) fn names(site: &Site<'_>, server: usize) -> Vec<String> {
    let names = site.blocks[server].all("server_name").flat_map(|said| &said.args);
    let names: Vec<String> = names.map(|word| word.value.to_ascii_lowercase()).collect();
    if names.is_empty() { vec![String::new()] } else { names }
}

fn address(text: &str) -> String {
    if text.starts_with("unix:") {
        return text.to_owned();
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return format!("*:{text}");
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (text, "80"),
    };
    let host = if host == "0.0.0.0" { "*" } else { host };
    format!("{host}:{port}")
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn one_address_has_one_spelling() {
        for same in ["80", "*:80", "0.0.0.0:80", "*", "0.0.0.0"] {
            assert_eq!(address(same), "*:80", "{same}");
        }
        assert_eq!(address("[::]:443"), "[::]:443");
        assert_eq!(address("[::]"), "[::]:80");
        assert_eq!(address("127.0.0.1"), "127.0.0.1:80");
    }
}
