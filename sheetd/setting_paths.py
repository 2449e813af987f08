"""What settings that name files share: relative to the configuration, and secrets where nobody else reads them.

Knows no section of the file.
"""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import ValidationInfo


def file_of(info: ValidationInfo) -> Path:
    path = info.context
    assert isinstance(path, Path)  # noqa: S101 - TomlFile.build always passes it; said for the type checker
    return path


def beside(info: ValidationInfo, path: Path) -> Path:
    """The path as the file means it: relative to the folder that the file is in."""
    return Path(os.path.normpath(file_of(info).parent / path.expanduser()))


def checked_key_file(path: Path) -> Path:
    """Raise ValueError for a key that others can read or that is about to be published.

    A key is a password that does not expire (https://cloud.google.com/iam/docs/best-practices-for-managing-service-account-keys).
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}: download the service account's key as JSON and put it there")
    if path.stat().st_mode & 0o077:
        raise ValueError(f"{path} can be read by others: run chmod 600 {path}")
    return outside_git(path)


def outside_git(path: Path) -> Path:
    """The path of a secret. Raises ValueError for one that would be about to be published."""
    tree = next((folder for folder in path.resolve().parents if (folder / ".git").exists()), None)
    if tree is not None:
        raise ValueError(
            f"{path} is inside the git work tree {tree}, one `git add` away from being published:"
            " move it, for example to ~/.config/sheetd/"
        )
    return path
