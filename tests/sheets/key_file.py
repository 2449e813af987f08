"""The key file of a service account that signs in wherever a test says. No other key is in it than one made here."""

from __future__ import annotations

import functools
import json
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

EMAIL = "sheetd@lab.iam.example"


@functools.cache
def _private_key() -> str:
    """One for the whole run: making it is slow, and nobody looks at which it is."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def key_file(path: Path, token_uri: str) -> Path:
    info = {"type": "service_account", "client_email": EMAIL, "private_key": _private_key(), "token_uri": token_uri}
    path.write_text(json.dumps(info))
    return path
