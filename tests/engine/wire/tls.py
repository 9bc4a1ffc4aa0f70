"""TLS for the tests: certificates made on the spot, and a proxy that speaks it for a plain server."""

from __future__ import annotations

import selectors
import socket
import ssl
import subprocess
import threading
from pathlib import Path
from typing import Any


class Authority:
    """A certificate authority of its own, and what it signs."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self.file = folder / f"{name}.pem"
        self._key = folder / f"{name}.key"
        _openssl(
            *(
                "req",
                "-x509",
                "-days",
                "1",
                "-subj",
                f"/CN={name}",
                "-addext",
                "basicConstraints=critical,CA:TRUE",
                # Python 3.13 wants an authority to say that it may sign.
                "-addext",
                "keyUsage=critical,keyCertSign,cRLSign",
            ),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", self._key, "-out", self.file),
        )

    def sign(self, name: str, host: str = "") -> tuple[Path, Path]:
        """Files with a certificate and its key."""
        base = self._folder / f"{self._name}-{name}"
        key, request, certificate, extra = (base.with_suffix(one) for one in (".key", ".csr", ".pem", ".ext"))
        extra.write_text("authorityKeyIdentifier=keyid\n" + (f"subjectAltName={host}\n" if host else ""))
        _openssl(
            *(
                "req",
                "-subj",
                f"/CN={name}",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
            ),
            *("-keyout", key, "-out", request),
        )
        _openssl(
            *("x509", "-req", "-days", "1", "-in", request, "-CA", self.file, "-CAkey", self._key),
            *("-CAcreateserial", "-extfile", extra, "-out", certificate),
        )
        return certificate, key


def _openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


class Proxy:
    """Speaks TLS to clients and hands what they say to a server on a Unix socket."""

    def __init__(
        self, target: str, certificate: tuple[Path, Path], client_authority: Authority | None = None
    ) -> None:
        self._target = target
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*certificate)
        if client_authority is not None:
            self._context.load_verify_locations(client_authority.file)
            self._context.verify_mode = ssl.CERT_REQUIRED
        self.clients: list[str] = []
        """The names in the certificates that clients showed."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._serve, args=(client,)))
            self._threads[-1].start()

    def _serve(self, plain: socket.socket) -> None:
        try:
            client = self._context.wrap_socket(plain, server_side=True)
        except OSError:
            plain.close()
            return
        shown: Any = client.getpeercert() or {}
        for part in shown.get("subject", ()):
            self.clients += [value for name, value in part if name == "commonName"]
        with client, socket.socket(socket.AF_UNIX) as server, selectors.DefaultSelector() as ready:
            server.connect(self._target)
            ready.register(client, selectors.EVENT_READ, server)
            ready.register(server, selectors.EVENT_READ, client)
            try:
                while True:
                    for key, _ in ready.select():
                        source: socket.socket = key.fileobj  # type: ignore[assignment]
                        said = source.recv(65_536)
                        while isinstance(source, ssl.SSLSocket) and source.pending():
                            said += source.recv(65_536)
                        if not said:
                            return
                        key.data.sendall(said)
            except OSError:
                return
