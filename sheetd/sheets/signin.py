"""Who signs in to Google, and for what: a service account's key file, a person's own sign-in, or what this machine has.

A key file holds all that it takes. A sign-in is a file of the kind `authorized_user`, as `sheetd login` and gcloud
write it. "application-default" leaves it to google-auth to find something: $GOOGLE_APPLICATION_CREDENTIALS, gcloud's
own sign-in, or the account of a machine at Google (https://cloud.google.com/docs/authentication/application-default-credentials).
Must not print, log or keep a token or a key anywhere but in memory.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import google.auth
import requests
from google.auth.credentials import Credentials
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, TransportError
from google.auth.transport import Request
from google.auth.transport.requests import AuthorizedSession
from google.auth.transport.requests import Request as RequestsRequest
from google.oauth2 import credentials as oauth2
from google.oauth2 import service_account

from sheetd.errors import SheetRefused
from sheetd.ports import APPLICATION_DEFAULT

#: All that the daemon asks for: no Drive, so no other file of the account is within reach.
SHEETS: Final = "https://www.googleapis.com/auth/spreadsheets"
#: To make a spreadsheet and to share it: only files that were made by the same OAuth client are within reach.
OWN_FILES: Final = "https://www.googleapis.com/auth/drive.file"
#: To see who may open the sheet; asked for by `sheetd doctor` alone, and only where no person has to consent.
SHARING: Final = "https://www.googleapis.com/auth/drive.metadata.readonly"

_TOKEN_URI: Final = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address

Kind: TypeAlias = Literal["service", "user", "default"]
_RENEW: Final[Mapping[Kind, str]] = {
    "service": "make a new key for the service account",
    "user": "sign in again with `sheetd login`",
    "default": f"sign in again: `gcloud auth application-default login --scopes=openid,"
    f"https://www.googleapis.com/auth/cloud-platform,{SHEETS}`",
}


@dataclass(frozen=True, slots=True)
class Account:
    """`email` is empty where nothing says whose sign-in it is."""

    kind: Kind
    email: str
    credentials: Credentials

    @property
    def renew(self) -> str:
        """What a person does about credentials that Google does not accept any more."""
        return _RENEW[self.kind]


def account_of(credentials: Path, scopes: Sequence[str] = (SHEETS,)) -> Account:
    """The account behind a file, or this machine's own for "application-default". Sends nothing where there is a file.

    Of a person's sign-in the scopes are what was consented to. Raises SheetRefused for what cannot be used.
    """
    if str(credentials) == APPLICATION_DEFAULT:
        return _machines_own(scopes)
    info = _json_of(credentials)
    if "installed" in info or "web" in info:
        raise SheetRefused(
            f"{credentials} is an OAuth client, which says who asks and not who allows it: run"
            f" `sheetd login --client {credentials}`, and name the file that it writes"
        )
    try:
        if info.get("type") == "authorized_user":
            return Account("user", str(info.get("account") or ""), _Careful(_sign_in(info)))
        signed = service_account.Credentials.from_service_account_info(info, scopes=scopes)  # type: ignore[no-untyped-call]
        return Account("service", str(signed.service_account_email), _Careful(signed))
    except (ValueError, AttributeError, TypeError, LookupError) as error:
        raise SheetRefused(f"{_UNUSABLE.format(credentials)}: {error}") from error


_UNUSABLE = "{} is not a usable key file of a service account, nor a sign-in of `sheetd login`"


def _json_of(path: Path) -> dict[str, Any]:
    try:
        info = json.loads(path.read_bytes())
    except OSError as error:
        raise SheetRefused(f"{_UNUSABLE.format(path)}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise SheetRefused(f"{_UNUSABLE.format(path)}: it is not JSON; download the key once more") from error
    if not isinstance(info, dict):
        raise SheetRefused(f"{_UNUSABLE.format(path)}: it is not a JSON object; download the key once more")
    return info


def _sign_in(info: Mapping[str, Any]) -> oauth2.Credentials:
    """Without scopes, so that a token is good for all that was consented to and a refresh asks for no more."""
    missing = [name for name in ("refresh_token", "client_id", "client_secret") if not isinstance(info.get(name), str)]
    if missing:
        raise ValueError(f"it has no {' and no '.join(missing)}")
    return oauth2.Credentials(  # type: ignore[no-untyped-call]
        token=None,
        refresh_token=info["refresh_token"],
        token_uri=str(info.get("token_uri") or _TOKEN_URI),
        client_id=info["client_id"],
        client_secret=info["client_secret"],
        quota_project_id=info.get("quota_project_id"),
    )


def _machines_own(scopes: Sequence[str]) -> Account:
    try:
        found, _ = google.auth.default(scopes=scopes)
    except DefaultCredentialsError as error:
        raise SheetRefused(
            "this machine has no application default credentials: name a key file in"
            f" $GOOGLE_APPLICATION_CREDENTIALS, or {_RENEW['default'].removeprefix('sign in again: ')}"
        ) from error
    email = getattr(found, "service_account_email", "") or getattr(found, "account", "")
    return Account("default", "" if email == "default" else str(email), _Careful(found))


class _Careful(Credentials):
    """google-auth takes the form of the token endpoint's answer for granted: what a portal answers in its place would
    surface as a bug of ours and end the daemon.
    """

    def __init__(self, inner: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._inner = inner
        self._quota_project_id = inner.quota_project_id

    def refresh(self, request: Request) -> None:
        """Fetch a token. Raises GoogleAuthError and nothing else."""
        try:
            self._inner.refresh(request)
        except GoogleAuthError:
            raise
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            raise TransportError(f"something answered in place of Google: {error!r}") from error  # type: ignore[no-untyped-call]
        self.token, self.expiry = self._inner.token, self._inner.expiry


class GoogleSession(AuthorizedSession):
    """Signs in by itself, over connections of its own, and lets each answer be heard, also those of signing in."""

    def __init__(self, account: Account) -> None:
        # google-auth's own would connect again by itself, and urllib3 log each time: an outage is said once, by us.
        self._signing_in = requests.Session()
        super().__init__(account.credentials, auth_request=RequestsRequest(self._signing_in))  # type: ignore[no-untyped-call]
        self.hooks["response"].append(_read_refusal)

    def hear(self, listener: Callable[[requests.Response], None]) -> None:
        def hook(response: requests.Response, *_args: object, **_options: object) -> None:
            listener(response)

        for session in (self, self._signing_in):
            session.hooks["response"].append(hook)

    def close(self) -> None:
        self._signing_in.close()
        super().close()  # type: ignore[no-untyped-call]


def _read_refusal(response: requests.Response, *_args: object, **_options: object) -> None:
    """A hook: google-auth drops an answer of 401 to sign in anew, and unread it would take its connection along."""
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        _ = response.content
