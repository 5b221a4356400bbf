"""Certificates for tests, by openssl.

authority = Authority(tmp_path / "ca")          authority.file is its certificate
cert, key = authority.issue("server", "IP:127.0.0.1")       paths; the key's mode is 0600
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Authority:
    def __init__(self, folder: Path) -> None:
        if shutil.which("openssl") is None:
            pytest.skip("needs openssl")
        folder.mkdir()
        self.folder = folder
        self.file = folder / "ca.pem"
        self._key = folder / "ca-key.pem"
        _openssl(
            "req", "-x509", *_KEY, "-subj", f"/CN={folder.name}", "-keyout", self._key, "-out", self.file, "-days", "2"
        )

    def issue(self, name: str, address: str = "", *, field: str = "CN") -> tuple[Path, Path]:
        """`address`: subjectAltName of a server. `field`: of the subject, CN is the common name."""
        cert, key, request = (self.folder / f"{name}{end}" for end in (".pem", "-key.pem", ".csr"))
        _openssl("req", *_KEY, "-subj", f"/{field}={name}", "-keyout", key, "-out", request)
        more = self.folder / f"{name}.ext"
        more.write_text(f"subjectAltName={address}\n" if address else "keyUsage=digitalSignature\n")
        _openssl(
            "x509", "-req", "-in", request, "-CA", self.file, "-CAkey", self._key, "-CAcreateserial",
            "-days", "2", "-extfile", more, "-out", cert,
        )  # fmt: skip
        key.chmod(0o600)
        return cert, key


def _openssl(*arguments: object) -> None:
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
