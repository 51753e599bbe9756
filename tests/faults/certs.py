"""Certificates, sound and broken, of an authority that lives as long as the run."""

import subprocess
import types

CONFIG = """
[ca]
default_ca = here
[here]
dir = .
database = index.txt
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
unique_subject = no
[any]
organizationName = supplied
commonName = supplied
"""
AUTHORITY = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n"
LEAF = "basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth,clientAuth\nsubjectAltName={}\n"
NAMES = "DNS:app.test,DNS:localhost,IP:127.0.0.1"
NOW, LATER = "20200101000000Z", "20500101000000Z"


class Certificates:
    """`get(name)` gives `cert` (the chain a server sends), `key`, `pem` (both) and `ca` (what a client may trust)."""

    def __init__(self, folder):
        self.folder, self.made = folder, {}
        (folder / "ca.cnf").write_text(CONFIG)
        (folder / "index.txt").write_text("")
        (folder / "serial").write_text("1000\n")
        root = self._sign("root", "Laboratory Root", None, AUTHORITY)
        between = self._sign("between", "Laboratory Issuer", root, AUTHORITY)
        other = self._sign("other", "Root", None, AUTHORITY, organisation="Strangers")
        self._leaf("good", between, root, [between])
        self._leaf("plain", root, root, [])
        self._leaf("other-name", root, root, [], names="DNS:other.test")
        self._leaf("expired", root, root, [], until="20240101000000Z")
        self._leaf("not-yet", root, root, [], since="20490101000000Z")
        self._leaf("without-issuer", between, root, [])
        self._leaf("stranger", other, root, [other])
        self._leaf("name-alone", root, root, [], names="DNS:app.test")
        old = self._sign("old-between", "Old Issuer", root, AUTHORITY, until="20240101000000Z")
        self._leaf("old-issuer", old, root, [old])
        self._leaf("self-signed", None, root, [])
        self.root = root

    def get(self, name):
        return self.made[name]

    def _leaf(self, name, issuer, trusted, chain, names=NAMES, since=NOW, until=LATER):
        common = names.partition(":")[2].partition(",")[0]
        leaf = self._sign(name, common, issuer, LEAF.format(names), since, until)
        cert, pem = self.folder / f"{name}-chain.crt", self.folder / f"{name}.pem"
        cert.write_text(leaf.cert.read_text() + "".join(each.cert.read_text() for each in chain))
        pem.write_text(cert.read_text() + leaf.key.read_text())
        self.made[name] = types.SimpleNamespace(cert=cert, key=leaf.key, pem=pem, ca=trusted.cert)

    def _sign(self, name, common, issuer, extensions, since=NOW, until=LATER, organisation="Laboratory"):
        cert, key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        (self.folder / f"{name}.ext").write_text(extensions)
        self._openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:prime256v1 -out", key)
        self._openssl("req -new -subj", f"/O={organisation}/CN={common}", "-key", key, "-out", f"{name}.csr")
        signer = ["-cert", issuer.cert, "-keyfile", issuer.key] if issuer else ["-selfsign", "-keyfile", key]
        self._openssl(
            "ca -batch -notext -config ca.cnf", *signer, "-in", f"{name}.csr", "-out", cert, "-extfile", f"{name}.ext",
            "-startdate", since, "-enddate", until,
        )  # fmt: skip
        return types.SimpleNamespace(cert=cert, key=key)

    def _openssl(self, words, *more):
        argv = ["openssl", *words.split(), *map(str, more)]
        ran = subprocess.run(argv, cwd=self.folder, capture_output=True, text=True)
        if ran.returncode:
            raise RuntimeError(f"{' '.join(argv)}:\n{ran.stderr}")
