//! Certificates of clients, and what a server offers by TLS. The tables are what nginx 1.31.3 with OpenSSL 3.3 answered.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::process::Command;

use support::{Folder, Longwire, check, run};

/// Makes authorities, certificates of many kinds and a revocation list, in the folder that it runs in.
const MAKE: &str = r#"
set -e
EC="-algorithm EC -pkeyopt ec_paramgen_curve:P-256"
key() { openssl genpkey ${KIND:-$EC} -out $1.key; }
ca() { key $1; openssl req -x509 -new -key $1.key -subj "$2" -days 3650 -out $1.crt; }
signed() {
    key $1; openssl req -new -utf8 -key $1.key -subj "$2" -out $1.csr
    if [ -n "$4" ]; then printf "$4\n" > $1.ext; extra="-extfile $1.ext"; else extra=""; fi
    openssl x509 -req -in $1.csr -CA $3.crt -CAkey $3.key -set_serial ${6:-0x00ABCD12} -days ${5:-100} $extra -out $1.crt
}
ca root "/O=Test/CN=root"; ca other "/O=Test/CN=other"; ca self "/O=Test/CN=self"; ca site "/CN=localhost"
signed inter /O=Test/CN=inter root "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign,cRLSign"
signed inter2 /O=Test/CN=inter2 inter "basicConstraints=critical,CA:TRUE"
signed notca /O=Test/CN=notca root "basicConstraints=CA:FALSE"
signed narrow /O=Test/CN=narrow root "basicConstraints=critical,CA:TRUE\nnameConstraints=permitted;DNS:example.com"
signed v1 "/C=DE/O=A, B/OU=\"x\" <y>/CN=Jürgen/emailAddress=a@b.c" root ""
signed leaf "/C=DE/CN=leaf" inter "extendedKeyUsage=clientAuth"
signed leaf2 /CN=leaf2 inter2 "extendedKeyUsage=clientAuth"
KIND="-algorithm RSA -pkeyopt rsa_keygen_bits:2048"; ca rsaroot /CN=rsaroot; signed rsa /CN=rsa rsaroot ""
KIND="-algorithm ED25519"; signed ed /CN=ed rsaroot ""; KIND=""
signed srv /CN=srv root "extendedKeyUsage=serverAuth"
signed bad /CN=bad notca "keyUsage=digitalSignature"
signed cut /CN=cut narrow "keyUsage=digitalSignature"
signed old /CN=old root "keyUsage=digitalSignature" -1
signed alien /CN=alien other "keyUsage=digitalSignature"
signed oldalien /CN=oldalien other "keyUsage=digitalSignature" -1
signed gone /CN=gone root "keyUsage=digitalSignature" 100 0x77
# Signed by another key, in the name of the root.
key fake; openssl req -x509 -new -key fake.key -subj "/O=Test/CN=root" -days 10 -out fake.crt
signed forged /CN=forged fake "keyUsage=digitalSignature"
for name in leaf leaf2 bad cut alien forged; do cp $name.key ${name}_chain.key; done
cat leaf.crt inter.crt > leaf_chain.crt; cat leaf2.crt inter2.crt inter.crt > leaf2_chain.crt
cat bad.crt notca.crt > bad_chain.crt; cat cut.crt narrow.crt > cut_chain.crt
cat alien.crt other.crt > alien_chain.crt; cat forged.crt fake.crt > forged_chain.crt
: > index; echo 01 > number
printf '[ca]\ndefault_ca=d\n[d]\ndatabase=index\ncrlnumber=number\ndefault_md=sha256\ndefault_crl_days=30\n' > ca.cnf
openssl ca -config ca.cnf -keyfile root.key -cert root.crt -revoke gone.crt
openssl ca -config ca.cnf -keyfile root.key -cert root.crt -gencrl -out root.crl
"#;

/// Asks once for each line `SNI HOST CERTIFICATE VERSION` (`-` is none), and prints status and body.
const ASK: &str = r#"
import socket, ssl, sys
def ask(sni, host, cert, version):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    version = ssl.TLSVersion.TLSv1_2 if version == "1.2" else ssl.TLSVersion.TLSv1_3
    context.minimum_version = context.maximum_version = version
    if cert != "-":
        context.load_cert_chain(cert + ".crt", cert + ".key")
    plain = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=20)
    tls = context.wrap_socket(plain, server_hostname=None if sni == "-" else sni)
    tls.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    answer = b""
    while piece := tls.recv(65536):
        answer += piece
    head, body = answer.split(b"\r\n\r\n", 1)
    body = body.decode()
    if "<title>" in body:
        body = body.split("<title>")[1].split("</title>")[0]
    return head.split()[1].decode() + " " + body
for line in sys.argv[2:]:
    try:
        print(ask(*line.split()))
    except Exception as error:
        print("error", error)
"#;

const SERVERS: &str = r#"
ssl_certificate site.crt;
ssl_certificate_key site.key;
error_log stderr info;
server { listen 127.0.0.1:0 ssl; server_name off; location / { return 200 "$ssl_client_verify|$ssl_client_s_dn"; } }
server { listen 127.0.0.1:0 ssl; server_name plain; ssl_verify_client on; ssl_client_certificate root.crt;
    location / { return 200 $ssl_client_verify; } }
server { listen 127.0.0.1:0 ssl; server_name must; ssl_verify_client on; ssl_client_certificate root.crt; ssl_verify_depth 2;
    error_page 495 =200 /e495; location = /e495 { return 200 "495 $ssl_client_verify"; }
    error_page 496 =200 /e496; location = /e496 { return 200 "496 $ssl_client_verify"; }
    location / { return 200 "$ssl_client_verify|$ssl_client_s_dn|$ssl_client_i_dn|$ssl_client_s_dn_legacy|$ssl_client_serial|$ssl_client_v_remain"; } }
server { listen 127.0.0.1:0 ssl; server_name opt; ssl_verify_client optional; ssl_client_certificate root.crt; include pages; }
server { listen 127.0.0.1:0 ssl; server_name noca; ssl_verify_client optional_no_ca; include pages; }
server { listen 127.0.0.1:0 ssl; server_name crl; ssl_verify_client optional; ssl_client_certificate root.crt; ssl_crl root.crl; include pages; }
server { listen 127.0.0.1:0 ssl; server_name inter; ssl_verify_client optional; ssl_client_certificate inter.crt; include pages; }
server { listen 127.0.0.1:0 ssl; server_name both; ssl_verify_client on; ssl_client_certificate inter.crt; ssl_trusted_certificate root.crt; include pages; }
server { listen 127.0.0.1:0 ssl; server_name self; ssl_verify_client optional; ssl_client_certificate self.crt; include pages; }
server { listen 127.0.0.1:0 ssl; server_name rsa; ssl_verify_client on; ssl_client_certificate rsaroot.crt; include pages; }
server { listen 127.0.0.1:0 ssl; server_name cert; ssl_verify_client on; ssl_client_certificate root.crt;
    location / { return 200 "$ssl_client_raw_cert$ssl_client_cert|$ssl_client_escaped_cert|$ssl_client_fingerprint|$ssl_client_v_start|$ssl_client_v_end"; } }
"#;

const PAGES: &str = "location / { return 200 $ssl_client_verify; } error_page 495 =200 /e495; \
    location = /e495 { return 200 \"495 $ssl_client_verify\"; }";

/// The servers with their certificates, unless a tool is missing.
fn start() -> Option<Longwire> {
    let folder = Folder::new();
    for tool in ["openssl", "python3"] {
        if run(Command::new(tool).arg(if tool == "openssl" { "version" } else { "-V" })).0 != Some(0) {
            println!("SKIPPED: there is no {tool}");
            return None;
        }
    }
    let (status, _, said) = run(Command::new("sh").args(["-c", MAKE]).current_dir(folder.path()));
    assert_eq!(status, Some(0), "{said}");
    folder.write("pages", PAGES);
    Some(Longwire::start_in(folder, SERVERS, &[]))
}

/// What each request was answered.
fn ask(longwire: &Longwire, requests: &[String]) -> Vec<String> {
    let mut command = Command::new("python3");
    command.args(["-c", ASK, &longwire.addr().port().to_string()]).args(requests);
    let (status, said, errors) = run(command.current_dir(longwire.folder().path()));
    assert_eq!(status, Some(0), "{errors}");
    said.split_inclusive('\n').map(|line| line.trim_end_matches('\n').to_owned()).collect()
}

const UNKNOWN: &str = "unable to verify the first certificate";
const PURPOSE: &str = "unsuitable certificate purpose";
const EXPIRED: &str = "certificate has expired";
const OWN_ROOT: &str = "self-signed certificate in certificate chain";
const NO_LOCAL: &str = "unable to get local issuer certificate";
const NO_ISSUER: &str = "unable to get issuer certificate";
const NO_CRL: &str = "unable to get certificate CRL";

#[test]
fn certificates_are_judged_as_nginx_does() {
    let Some(longwire) = start() else { return };
    // Server, certificate, `!` when the request is answered 495, and the verdict.
    let table = [
        ("opt", "v1", "", "SUCCESS"),
        ("opt", "leaf_chain", "", "SUCCESS"),
        ("opt", "leaf", "!", UNKNOWN),
        ("opt", "leaf2_chain", "!", NO_LOCAL),
        ("opt", "srv", "!", PURPOSE),
        ("opt", "bad_chain", "!", PURPOSE),
        ("opt", "old", "!", EXPIRED),
        ("opt", "alien", "!", UNKNOWN),
        ("opt", "alien_chain", "!", OWN_ROOT),
        ("opt", "oldalien", "!", EXPIRED),
        ("opt", "self", "!", "self-signed certificate"),
        ("opt", "-", "", "NONE"),
        ("noca", "v1", "", UNKNOWN),
        ("noca", "leaf_chain", "", NO_LOCAL),
        ("noca", "bad_chain", "!", PURPOSE),
        ("noca", "old", "!", EXPIRED),
        ("noca", "alien_chain", "", OWN_ROOT),
        ("noca", "self", "", "self-signed certificate"),
        ("noca", "-", "", "NONE"),
        ("crl", "v1", "", "SUCCESS"),
        ("crl", "gone", "!", "certificate revoked"),
        ("crl", "leaf_chain", "!", NO_CRL),
        ("crl", "alien_chain", "!", NO_CRL),
        ("crl", "alien", "!", UNKNOWN),
        ("inter", "leaf_chain", "!", NO_ISSUER),
        ("inter", "leaf2_chain", "!", NO_ISSUER),
        ("inter", "v1", "!", UNKNOWN),
        ("both", "leaf", "", "SUCCESS"),
        ("self", "self", "", "SUCCESS"),
        ("rsa", "rsa", "", "SUCCESS"),
        ("rsa", "ed", "", "SUCCESS"),
        // nginx looks into the names that a CA may sign for; here no such CA is trusted.
        ("opt", "cut_chain", "!", "unhandled critical extension"),
        // The key of another authority of the same name.
        ("opt", "forged", "!", "certificate signature failure"),
        ("opt", "forged_chain", "!", "certificate signature failure"),
    ];
    for version in ["1.2", "1.3"] {
        let requests: Vec<String> =
            table.iter().map(|(server, cert, ..)| format!("{server} {server} {cert} {version}")).collect();
        for ((server, cert, sign, verdict), answer) in table.iter().zip(ask(&longwire, &requests)) {
            let failed = if matches!(*verdict, "SUCCESS" | "NONE") { "" } else { "FAILED:" };
            let page = if *sign == "!" { "495 " } else { "" };
            assert_eq!(answer, format!("200 {page}{failed}{verdict}"), "{server} {cert} {version}");
        }
    }
    longwire.wait_log(&["[info]", "client SSL certificate verify error: (10:certificate has expired)"]);
}

#[test]
fn a_missing_certificate_and_another_name_are_answered() {
    let Some(longwire) = start() else { return };
    let table = [
        ("must must -", "200 496 NONE"),
        ("plain plain -", "400 400 No required SSL certificate was sent"),
        ("plain plain alien", "400 400 The SSL certificate error"),
        ("off off v1", "200 NONE|"),
        ("off must v1", "421 421 Misdirected Request"),
        ("off opt -", "421 421 Misdirected Request"),
        ("must off v1", "200 SUCCESS|emailAddress=a@b.c,"),
        // Without a name of a server here, the first one asked for no certificate.
        ("- must v1", "200 496 NONE"),
        ("unknown must v1", "200 496 NONE"),
        ("- off v1", "200 NONE|"),
    ];
    let requests: Vec<String> = table.iter().map(|(request, _)| format!("{request} 1.3")).collect();
    for ((request, expected), answer) in table.iter().zip(ask(&longwire, &requests)) {
        assert!(answer.starts_with(expected), "{request}: {answer}");
    }
}

#[test]
fn variables_are_worded_as_in_nginx() {
    let Some(longwire) = start() else { return };
    let answers = ask(&longwire, &["must must v1 1.3", "must must leaf_chain 1.3"].map(str::to_owned));
    // In the second in which a certificate was made it has a hundred whole days left.
    let days = |answer: &str| match answer.strip_suffix("|100") {
        Some(rest) => format!("{rest}|99"),
        None => answer.to_owned(),
    };
    assert_eq!(
        days(&answers[0]),
        "200 SUCCESS|emailAddress=a@b.c,CN=J\\C3\\BCrgen,OU=\\\"x\\\" \\<y\\>,O=A\\, B,C=DE|CN=root,O=Test|\
         /C=DE/O=A, B/OU=\"x\" <y>/CN=J\\xC3\\xBCrgen/emailAddress=a@b.c|ABCD12|99"
    );
    assert_eq!(days(&answers[1]), "200 SUCCESS|CN=leaf,C=DE|CN=inter,O=Test|/C=DE/CN=leaf|ABCD12|99");
    let whole = ask(&longwire, &["cert cert v1 1.3".to_owned()]).join("\n");
    let pem = longwire.folder().read("v1.crt");
    let raw = whole.strip_prefix("200 ").unwrap().strip_prefix(&pem).unwrap();
    let rest = raw.strip_prefix(&pem.trim_end().replace('\n', "\n\t")).unwrap();
    let parts: Vec<&str> = rest.split('|').collect();
    assert!(parts[1].starts_with("-----BEGIN%20CERTIFICATE-----%0A") && parts[1].ends_with("-----%0A"));
    let text = |flag: &str| {
        let mut command = Command::new("openssl");
        command.args(["x509", "-noout", "-in", "v1.crt", flag]).current_dir(longwire.folder().path());
        run(&mut command).1.trim().split_once('=').unwrap().1.to_owned()
    };
    assert_eq!(parts[2], text("-fingerprint").replace(':', "").to_lowercase());
    assert_eq!((parts[3], parts[4]), (text("-startdate").as_str(), text("-enddate").as_str()));
}

/// Resumes a session: whether that went, by `$ssl_session_reused`, and what is known of the certificate then.
const RESUME: &str = r#"
import socket, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
version = ssl.TLSVersion.TLSv1_2 if sys.argv[2] == "1.2" else ssl.TLSVersion.TLSv1_3
context.minimum_version = context.maximum_version = version
context.load_cert_chain("v1.crt", "v1.key")
session = None
for round in range(2):
    plain = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=20)
    tls = context.wrap_socket(plain, server_hostname=sys.argv[3], session=session)
    tls.sendall(f"GET / HTTP/1.1\r\nHost: {sys.argv[3]}\r\nConnection: close\r\n\r\n".encode())
    answer = b""
    while piece := tls.recv(65536):
        answer += piece
    session = tls.session
print(answer.split(b"\r\n\r\n", 1)[1].decode())
"#;

#[test]
fn sessions_are_resumed_as_set_and_keep_the_certificate() {
    let folder = Folder::new();
    if run(Command::new("python3").arg("-V")).0 != Some(0) {
        return println!("SKIPPED: there is no python3");
    }
    let (status, _, said) = run(Command::new("sh").args(["-c", MAKE]).current_dir(folder.path()));
    assert_eq!(status, Some(0), "{said}");
    let server = |name: &str, settings: &str| {
        format!(
            "server {{ listen 127.0.0.1:0 ssl; server_name {name}; ssl_certificate site.crt; ssl_certificate_key site.key; \
             ssl_verify_client on; ssl_client_certificate root.crt; {settings} \
             location / {{ return 200 \"$ssl_session_reused $ssl_client_verify $ssl_client_serial\"; }} }}\n"
        )
    };
    let configuration = [
        server("tickets", ""),
        server("none", "ssl_session_tickets off;"),
        server("cache", "ssl_session_tickets off; ssl_session_cache shared:SSL:1m;"),
    ];
    let longwire = Longwire::start_in(folder, &configuration.concat(), &[]);
    for (name, reused) in [("tickets", "r"), ("none", "."), ("cache", "r")] {
        for version in ["1.2", "1.3"] {
            let port = longwire.addr().port().to_string();
            let mut command = Command::new("python3");
            command.args(["-c", RESUME, &port, version, name]).current_dir(longwire.folder().path());
            let (_, said, errors) = run(&mut command);
            assert_eq!(said, format!("{reused} SUCCESS ABCD12\n"), "{name} {version}: {errors}");
        }
    }
}

#[test]
fn suites_versions_and_curves_are_those_of_the_file() {
    if run(Command::new("openssl").arg("version")).0 != Some(0) {
        return println!("SKIPPED: there is no openssl");
    }
    let server = |host: &str, settings: &str| {
        format!(
            "server {{ listen {host}:0 ssl; {settings} location / {{ return 200 \"$ssl_protocol $ssl_cipher $ssl_curve\\n\"; }} }}\n"
        )
    };
    let configuration = [
        server("127.0.0.1", "ssl_protocols TLSv1.2; ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256:AES128-SHA;"),
        server("127.0.0.2", "ssl_protocols TLSv1.3; ssl_ecdh_curve secp521r1:secp384r1;"),
        server(
            "127.0.0.3",
            "ssl_conf_command Ciphersuites TLS_CHACHA20_POLY1305_SHA256; ssl_ciphers HIGH:!aNULL:!MD5:!AES128;",
        ),
    ];
    let longwire = Longwire::start(&configuration.concat());
    let ask = |host: &str, flags: &[&str]| {
        let address = longwire.addr_on(host).to_string();
        let script = "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | openssl s_client -quiet -ign_eof \"$@\"";
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh", "-connect", &address]).args(flags);
        let (_, said, _) = run(&mut command);
        said.lines().last().unwrap_or_default().to_owned()
    };
    assert_eq!(ask("127.0.0.1", &[]), "TLSv1.2 ECDHE-ECDSA-AES128-GCM-SHA256 X25519");
    assert_eq!(ask("127.0.0.1", &["-tls1_3"]), "");
    assert_eq!(ask("127.0.0.1", &["-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"]), "");
    assert_eq!(ask("127.0.0.2", &[]), "TLSv1.3 TLS_AES_256_GCM_SHA384 secp384r1");
    assert_eq!(ask("127.0.0.2", &["-groups", "X25519"]), "");
    assert_eq!(ask("127.0.0.3", &[]), "TLSv1.3 TLS_CHACHA20_POLY1305_SHA256 X25519");
    assert_eq!(ask("127.0.0.3", &["-tls1_2"]), "TLSv1.2 ECDHE-ECDSA-AES256-GCM-SHA384 X25519");
}

#[test]
fn what_cannot_be_used_is_told_at_its_line() {
    let server = |inside: &str| format!("server {{\n    listen 127.0.0.1:0 ssl;\n    {inside}\n}}\n");
    for (inside, part) in [
        ("ssl_ciphers AES128-SHA:RC4;", "no suite is left of \"AES128-SHA:RC4\""),
        ("ssl_ecdh_curve secp521r1;", "no curve is left of \"secp521r1\""),
        ("ssl_verify_client on;", "no \"ssl_client_certificate\" or \"ssl_trusted_certificate\""),
        ("ssl_verify_client maybe;", "invalid value \"maybe\""),
        ("ssl_verify_client on; ssl_client_certificate nothing.pem;", "nothing.pem: cannot load"),
        ("ssl_session_cache shred:SSL:1m;", "invalid session cache \"shred:SSL:1m\""),
        ("ssl_conf_command Ciphersuites NONE;", "no suite is left of \"NONE\""),
        ("ssl_ocsp on;", "does not ask OCSP responders"),
    ] {
        let (good, said) = check(&server(inside));
        assert!(!good && said.contains(part) && said.contains("longwire.conf:3"), "{inside}\n{said}");
    }
    let inside = "ssl_ciphers ECDHE-RSA-AES128-SHA:HIGH; ssl_dhparam x; ssl_stapling on; ssl_password_file x; ssl_protocols TLSv1.3;";
    let (good, said) = check(&server(inside));
    assert!(good, "{said}");
    for name in ["ssl_dhparam", "ssl_stapling", "ssl_password_file"] {
        assert!(said.contains(&format!("\"{name}\" has no effect")), "{said}");
    }
    let (good, said) = check(&server("ssl_ciphers ECDHE-RSA-AES128-SHA:HIGH;"));
    assert!(good && said.contains("these are not offered: ECDHE-RSA-AES128-SHA"), "{said}");
}
