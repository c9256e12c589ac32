"""Certificates, made by the openssl command in a folder of the test."""

import pathlib
import ssl
import subprocess


def _openssl(*args):
    subprocess.run(["openssl", *args], check=True, capture_output=True, timeout=60)


class Authority:
    """A certificate authority of its own."""

    def __init__(self, folder, name="test authority"):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.cert = self.folder / "ca.pem"
        self.key = self.folder / "ca.key"
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                 "-nodes", "-days", "30", "-subj", f"/CN={name}", "-keyout", str(self.key),
                 "-out", str(self.cert),
                 "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip

    def issue(self, name, *alternative_names, days="30"):
        """(certificate file, key file) for e.g. "DNS:localhost", "IP:127.0.0.1"."""
        stem = self.folder / name
        cert, key, request, extra = (f"{stem}.{e}" for e in ("pem", "key", "csr", "ext"))
        pathlib.Path(extra).write_text(
            f"subjectAltName={','.join(alternative_names)}\n" if alternative_names else "\n"
        )
        _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                 "-subj", f"/CN={name}", "-keyout", key, "-out", request)  # fmt: skip
        _openssl("x509", "-req", "-in", request, "-CA", str(self.cert), "-CAkey", str(self.key),
                 "-CAcreateserial", "-days", days, "-extfile", extra, "-out", cert)  # fmt: skip
        return cert, key

    def server_context(self, *alternative_names, name="server", client_ca=None, **more):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue(name, *alternative_names, **more))
        if client_ca is not None:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client_context(self, cert=None, key=None):
        context = ssl.create_default_context(cafile=str(self.cert))
        if cert:
            context.load_cert_chain(cert, key)
        return context
