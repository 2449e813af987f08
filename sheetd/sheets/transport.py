"""How one request reaches the Sheets API and what becomes of its failure. With `google`, the only place that imports
gspread.

One client for Google and for the built-in sheet, so that what is tested against the one holds for the other. It owns
the timeouts (gspread's default is none at all), the retries (those of gspread 6.2.1 never end, its pull request 1599),
the quota, and the translation of every foreign exception into `sheetd.errors`.

Reads are retried. A write is retried only where nothing can have been applied; else its outcome is unknown and the
caller reads before it writes again. Weak: a server that keeps trickling bytes is bounded by no timeout here, only by
the caller's watch over its thread; and a client belongs to one thread, except for `close`.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from google.auth.exceptions import GoogleAuthError, TransportError
from gspread.http_client import FileType, HTTPClient, ParamsType
from gspread.urls import DRIVE_FILES_API_V3_URL, SPREADSHEETS_API_V4_BASE_URL
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, stop_before_delay
from tenacity.nap import sleep_using_event
from tenacity.stop import stop_when_event_set
from tenacity.wait import wait_random_exponential
from urllib3.exceptions import NewConnectionError

from sheetd.errors import SheetError, SheetRefused, SheetUnavailable
from sheetd.sheets.quota import ALLOWED_A_MINUTE, RequestMeter, TokenBucket
from sheetd.version import __version__

#: Seconds for connecting and for each wait for bytes. Google gives a request up to 180 s, then answers with an error
#: itself.
TIMEOUTS_S: Final = (10.0, 60.0)
ATTEMPTS: Final = 4
#: No retry begins later than this after the first attempt: a cycle that comes late is worth less than the next one.
RETRY_WITHIN_S: Final = 90.0
BACKOFF_MAX_S: Final = 20.0

SPREADSHEETS_URL: Final = SPREADSHEETS_API_V4_BASE_URL
DRIVE_FILES_URL: Final = DRIVE_FILES_API_V3_URL

#: How sheetd makes itself known. Google compresses only for clients that also say so in their name.
USER_AGENT: Final = f"sheetd/{__version__} (gzip)"

_PIECE_BYTES = 1 << 20

_API_ORIGINS = tuple("{0.scheme}://{0.netloc}".format(urlsplit(url)) for url in (SPREADSHEETS_URL, DRIVE_FILES_URL))
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


_STARTED_AGAIN = "The built-in sheet takes another token each time it is started: restart sheetd"
_BUILTIN_NEXT_STEPS: Final[Mapping[int, str]] = {
    401: _STARTED_AGAIN,
    403: _STARTED_AGAIN,
    404: "The built-in sheet has no such spreadsheet: check its file and the key",
}
_GOOGLE_NEXT_STEPS: Final[Mapping[int, str]] = {
    401: "Google does not accept the key file or sign-in: {renew}",
    403: "Share the spreadsheet with {whom} as an editor",
    404: "Check the spreadsheet's address, that it is not in the bin, and that it is shared with {whom}",
}


_API_NAMES: Final[Mapping[str, str]] = {"sheets": "Google Sheets API", "drive": "Google Drive API"}
_TOO_OFTEN: Final = (
    "another program uses the quota of this account or project up: wait a minute, or give sheetd a project of its own"
)


class RangeRefused(SheetRefused):
    """The API knows no such range: the tab was renamed or deleted."""


class _Answered(Exception):  # noqa: N818 - not an error yet: `_Failure` decides
    """The server answered with something else than success."""

    def __init__(self, response: requests.Response) -> None:
        super().__init__(f"HTTP {response.status_code}")
        self.status = response.status_code
        error = _google_error(response)
        self.text = " ".join(str(error.get("message", "")).split())[:300]
        #: Google's word for the cause, and what belongs to it (https://cloud.google.com/apis/design/errors#error_info).
        self.reason, self.about = _error_info(error)
        self.retry_after_s = _seconds(response.headers.get("Retry-After", ""))


_FOREIGN = (_Answered, requests.RequestException, GoogleAuthError)


@dataclass(frozen=True, slots=True)
class _Failure:
    """What a failed attempt means. `nothing_applied`: the server cannot have carried it out."""

    may_pass: bool
    nothing_applied: bool
    text: str


class SheetHTTPClient(HTTPClient):
    """gspread's client with deadlines. Raises only `SheetUnavailable` and `SheetRefused`."""

    def __init__(
        self,
        session: requests.Session,
        *,
        base_url: str | None = None,
        identity: str = "",
        renew: str = "make a new key for the service account",
        quota: Mapping[str, TokenBucket] | None = None,
        meter: RequestMeter | None = None,
        now_s: Callable[[], float] = time.monotonic,
        timeouts_s: tuple[float, float] = TIMEOUTS_S,
        backoff_s: float = 1.0,
    ) -> None:
        """`base_url` stands in for Google's; `identity` is the address to share the sheet with, `renew` what to do
        about credentials that are not accepted; `quota` holds `read`, `write`. Both it and `meter` may be shared.
        """
        super().__init__(None, session)  # type: ignore[arg-type]  # a session carries its own credentials
        self.timeout = timeouts_s
        self.base_url = base_url
        self.identity = identity
        self._renew = renew
        #: The newest `Date` of an answer, and when it was heard by `now_s`.
        self.date: tuple[str, float] | None = None
        #: Requests sent, retries included, by kind: `read` and `write` have quotas of their own.
        self.requests: Counter[str] = Counter()
        self._meter = meter or RequestMeter()
        self._quota = quota or {}
        self._now_s = now_s
        self._closing = threading.Event()
        self._jitter = wait_random_exponential(multiplier=backoff_s, max=BACKOFF_MAX_S)

    def request(
        self,
        method: str,
        endpoint: str,
        params: ParamsType | None = None,
        data: bytes | None = None,
        json: Mapping[str, Any] | None = None,
        files: FileType = None,
        headers: Any = None,
    ) -> requests.Response:
        """Send, with retries. The answer's body is not judged here beyond its HTTP code."""
        kind = "read" if method.lower() == "get" else "write"

        def send() -> requests.Response:
            self._spend(kind)
            response = self.session.request(
                method,
                self._redirected(endpoint),
                params=params,
                data=data,
                json=json,
                files=files,
                headers=headers,
                timeout=self.timeout,
                stream=True,
            )
            # Not gspread's APIError: its constructor itself raises TypeError where "error" is plain text.
            if not response.ok:
                raise _Answered(response)
            # In pieces of requests' own size (10 kB) a large tab costs three times the CPU, every idle cycle.
            response._content = b"".join(response.iter_content(_PIECE_BYTES))  # noqa: SLF001 - there is no public way in
            return response

        try:
            return self._retrying(kind)(send)
        except _FOREIGN as error:
            raise self._sheet_error(error, kind) from error

    def close(self) -> None:
        """Ends waiting at once, from any thread; a request already sent still takes its time. Nothing is sent
        afterwards.
        """
        self._closing.set()
        self.session.close()

    def usage(self) -> dict[str, int]:
        """Requests of the last minute, and how many of each kind we allow ourselves. From any thread."""
        sent = self._meter.last_minute(self._now_s())
        return {"reads": sent["read"], "writes": sent["write"], "allowed": ALLOWED_A_MINUTE}

    def note_date(self, response: requests.Response) -> None:
        """What time it is where the answer comes from: a wrong clock of ours shows by it."""
        if "Date" in response.headers:
            self.date = (response.headers["Date"], self._now_s())

    def _redirected(self, endpoint: str) -> str:
        if self.base_url is not None:
            for origin in _API_ORIGINS:
                if endpoint.startswith(origin):
                    return self.base_url.rstrip("/") + endpoint[len(origin) :]
        return endpoint

    def _spend(self, kind: str) -> None:
        bucket = self._quota.get(kind)
        if bucket is not None:
            self._closing.wait(bucket.reserve_s(self._now_s()))
        if self._closing.is_set():
            raise SheetUnavailable("the sheet is being closed, nothing was sent")
        self.requests[kind] += 1
        self._meter.note(kind, self._now_s())

    def _retrying(self, kind: str) -> Retrying:
        def is_worth_another(error: BaseException) -> bool:
            if not isinstance(error, _FOREIGN):
                return False
            failure = _failure(error)
            return failure.may_pass and (kind == "read" or failure.nothing_applied)

        return Retrying(
            retry=retry_if_exception(is_worth_another),
            wait=self._wait_s,
            stop=stop_after_attempt(ATTEMPTS) | stop_before_delay(RETRY_WITHIN_S) | stop_when_event_set(self._closing),
            sleep=sleep_using_event(self._closing),
            reraise=True,
        )

    def _wait_s(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome is not None else None
        asked_s = error.retry_after_s if isinstance(error, _Answered) else 0.0
        return asked_s + self._jitter(state)

    def _sheet_error(self, error: Exception, kind: str) -> SheetError:
        failure = _failure(error)
        if failure.may_pass:
            outcome = "" if kind == "read" or failure.nothing_applied else "outcome unknown: "
            return SheetUnavailable(f"{outcome}{failure.text}")
        if isinstance(error, GoogleAuthError):
            return SheetRefused(f"{failure.text}: {self._sign_in_step(failure.text)}")
        if not isinstance(error, _Answered):
            return SheetRefused(failure.text)
        if error.status == HTTPStatus.BAD_REQUEST and "unable to parse range" in error.text.lower():
            return RangeRefused(failure.text)
        return SheetRefused(f"{failure.text}. {self._next_step(error)}".rstrip(". "))

    def _next_step(self, answer: _Answered) -> str:
        """What a person can do about an answer that will not change by itself."""
        if self.base_url is not None:
            return _BUILTIN_NEXT_STEPS.get(answer.status, "")
        whom = self.identity or "the account that sheetd uses"
        disabled = "disabled" in answer.text or "has not been used" in answer.text
        if answer.status == HTTPStatus.FORBIDDEN and (disabled or answer.reason == "SERVICE_DISABLED"):
            return _enable_step(answer)
        if answer.reason == "ACCESS_TOKEN_SCOPE_INSUFFICIENT" or "insufficient authentication scopes" in answer.text:
            return f"This sign-in does not cover spreadsheets: {self._renew}"
        if "not supported for this document" in answer.text:
            return "This is an Excel file: choose File > Save as Google Sheets, and give sheetd the new address"
        return _GOOGLE_NEXT_STEPS.get(answer.status, "").format(whom=whom, renew=self._renew)

    def _sign_in_step(self, text: str) -> str:
        """What a person can do about a sign-in that is refused. The causes are Google's words for them."""
        if "reasonable timeframe" in text:
            return "this machine's clock is wrong: have it set over the network (`timedatectl set-ntp true`)"
        if "account not found" in text:
            return "the service account is gone: make another one with a key, and share the spreadsheet with it"
        if "invalid_scope" in text:
            return f"this sign-in does not cover spreadsheets: {self._renew}"
        if "invalid_grant" not in text:
            return "check the key file"
        if "Token has been expired or revoked" in text:
            hint = "those of a consent screen in Testing end after 7 days"
            return f"the sign-in has ended or was revoked ({hint}): {self._renew}"
        return f"is the key deleted or disabled, or this machine's clock wrong? See the date, then {self._renew}"


def loopback_session(base_url: str, token: str) -> requests.Session:
    """A session for the built-in sheet: no proxies from the environment, no compression that would only cost time.

    Raises SheetRefused for another machine's address: the token would cross the network in the clear.
    """
    if urlsplit(base_url).hostname not in _LOOPBACK:
        raise SheetRefused(f"{base_url} is not on this machine: reach a built-in sheet elsewhere through `ssh -L`")
    session = requests.Session()
    session.trust_env = False
    session.headers.update(
        {"Authorization": f"Bearer {token}", "Accept-Encoding": "identity", "User-Agent": USER_AGENT}
    )
    return session


def _failure(error: Exception) -> _Failure:
    if isinstance(error, _Answered):
        text = f"the sheet's server answered {error.status}{': ' + error.text if error.text else ''}"
        too_often = error.status == HTTPStatus.TOO_MANY_REQUESTS
        text += f" ({_TOO_OFTEN})" if too_often else ""
        passing = (
            too_often or error.status == HTTPStatus.REQUEST_TIMEOUT or error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        )
        # 501 is the built-in sheet's word for a request that it does not know.
        return _Failure(passing and error.status != HTTPStatus.NOT_IMPLEMENTED, nothing_applied=too_often, text=text)
    if isinstance(error, GoogleAuthError):
        return _auth_failure(error)
    unsent = isinstance(error, requests.ConnectTimeout) or isinstance(
        getattr(next(iter(error.args), None), "reason", None), NewConnectionError
    )
    # The request that cannot even be built (InvalidURL and such, all ValueErrors) will not be better next time.
    return _Failure(not isinstance(error, ValueError), unsent, f"no answer from the sheet's server ({_brief(error)})")


def _auth_failure(error: GoogleAuthError) -> _Failure:
    """Signing in comes before sending, so nothing was applied."""
    text = _brief(error)
    passing = isinstance(error, TransportError) or error.retryable or "invalid_" not in text
    if passing and "invalid_grant" not in text:
        return _Failure(may_pass=True, nothing_applied=True, text=f"could not sign in to Google now ({text})")
    return _Failure(may_pass=False, nothing_applied=True, text=f"Google refused to sign in ({text})")


def _google_error(response: requests.Response) -> Mapping[str, Any]:
    """Google's error object, or nothing where a proxy or a load balancer answered in HTML."""
    try:
        error = response.json()["error"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return error if isinstance(error, dict) else {}


def _error_info(error: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and isinstance(detail.get("reason"), str):
            about = detail.get("metadata")
            return detail["reason"], about if isinstance(about, dict) else {}
    return "", {}


def _enable_step(answer: _Answered) -> str:
    """Which API to enable, and where."""
    service = str(answer.about.get("service") or "")
    is_drive = service.startswith("drive.") or answer.text.startswith("Google Drive")
    name = "drive" if is_drive else "sheets"
    project = str(answer.about.get("consumer") or "").removeprefix("projects/")
    where = f"https://console.cloud.google.com/apis/library/{name}.googleapis.com"
    where += f"?project={project}" if project.isalnum() else ""
    return f"Enable the {_API_NAMES[name]} for the project of the key file ({where}), then wait a few minutes"


def _brief(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def _seconds(retry_after: str) -> float:
    """The header in its form of seconds; its form of a date would need a wall clock, so backoff alone decides then."""
    return float(retry_after) if retry_after.isascii() and retry_after.isdecimal() else 0.0
