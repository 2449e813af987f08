"""A person signs in to Google in a browser, once, and what is left of it is a file with which the daemon may go on.

The flow for programs on one's own machine: the browser comes back to a port of this machine, with a code that is worth
nothing without the verifier that only this process has (PKCE,
https://developers.google.com/identity/protocols/oauth2/native-app). Code and tokens are never printed, logged or put
into an argument of a command.
"""

from __future__ import annotations

import json
import os
import tempfile
import webbrowser
from pathlib import Path
from typing import Any, Final

import requests
from google_auth_oauthlib.flow import InstalledAppFlow, WSGITimeoutError  # type: ignore[import-untyped]
from oauthlib.oauth2 import OAuth2Error  # type: ignore[import-untyped]

from sheetd.errors import ConfigError, SheetRefused, SheetUnavailable
from sheetd.sheets.signin import OWN_FILES, SHEETS

WAIT_FOR_PERSON_S: Final = 300
_PROMPT = "Open this address in a browser, sign in, and allow what it asks for:\n\n{url}\n"
_DONE = "You are signed in: this window may be closed."


def sign_in(client: Path, *, port: int = 0, browser: bool = True) -> dict[str, Any]:
    """Have a person allow it; what to keep of that. Raises ConfigError for the client's file, else SheetError."""
    flow = _flow(client)
    try:
        granted = flow.run_local_server(
            port=port,
            open_browser=browser and _has_browser(),
            authorization_prompt_message=_PROMPT,
            success_message=_DONE,
            timeout_seconds=WAIT_FOR_PERSON_S,
            access_type="offline",
            prompt="consent",  # else Google hands out what lasts the first time only
        )
    except WSGITimeoutError as error:
        raise SheetUnavailable(
            f"nobody signed in within {WAIT_FOR_PERSON_S // 60} minutes: run `sheetd login` again; over SSH, forward a"
            " port: `ssh -L 8765:localhost:8765 HOST`, and there `sheetd login --port 8765 --no-browser`"
        ) from error
    except Warning as error:  # oauthlib raises one when less was allowed than was asked for
        raise SheetRefused(
            "not all was allowed that sheetd needs: sign in again, and leave every box ticked"
        ) from error
    except OAuth2Error as error:
        raise SheetRefused(f"Google refused the sign-in ({error.error}): run `sheetd login` again") from error
    except requests.RequestException as error:
        raise SheetUnavailable(f"Google did not answer ({type(error).__name__}): run `sheetd login` again") from error
    except OSError as error:
        raise SheetRefused(f"port {port} cannot be used ({error.strerror}): choose another with --port") from error
    if not granted.refresh_token:
        raise SheetRefused("Google gave out nothing that lasts: run `sheetd login` again")
    return {
        "type": "authorized_user",
        "client_id": granted.client_id,
        "client_secret": granted.client_secret,
        "refresh_token": granted.refresh_token,
        "token_uri": granted.token_uri,
        "scopes": [SHEETS, OWN_FILES],
    }


def keep(path: Path, told: dict[str, Any]) -> None:
    """Write it for this user's eyes alone, whole or not at all. Raises ConfigError."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".login-")  # mode 0600
        try:
            with os.fdopen(descriptor, "w") as file:
                json.dump(told, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror}): choose another place with --to") from error


def _flow(client: Path) -> Any:
    try:
        info = json.loads(client.read_bytes())
    except OSError as error:
        raise ConfigError(f"{client} cannot be read ({error.strerror}): download your OAuth client there") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{client} is not JSON: download your OAuth client once more") from error
    try:
        # By itself it would also take the client of a web server, which Google sends no browser to localhost for.
        return InstalledAppFlow.from_client_config({"installed": info["installed"]}, (SHEETS, OWN_FILES))
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ConfigError(
            f'{client} is not an OAuth client of the type "Desktop app": make one in the Google Cloud console'
            " (https://console.cloud.google.com/apis/credentials), and download it as JSON"
        ) from error


def _has_browser() -> bool:
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return True
