"""What the README tells people to type exists, and CI runs the very same test command."""

from __future__ import annotations

import re
import shlex
import sys

import pytest

from tests import check
from tests.check import ROOT
from tests.sources import project, reject, text


def shell_lines(markdown: str) -> list[str]:
    """The commands of every ```sh block, one a line, joined where a backslash continues them."""
    blocks = re.findall(r"^```sh\n(.*?)^```", markdown, re.DOTALL | re.MULTILINE)
    joined = "".join(blocks).replace("\\\n", " ")
    return [line.removeprefix("$ ").strip() for line in joined.splitlines() if line.strip()]


def test_ci_runs_what_the_readme_says() -> None:
    block = re.search(r"<!-- test-command -->\s*```sh\n(.*?)```", text("README.md"), re.DOTALL)
    assert block, (
        "README.md needs <!-- test-command --> and after it a ```sh block with the command that runs every check."
    )
    shown = check.run(check.Check("ci", ("bash", ".ci/run", "--show")))
    assert shown.passed, shown.output
    assert shown.output.strip() == block.group(1).strip()
    assert "-m tests.check" in shown.output, "The one command that runs every check is `python -m tests.check`."
    for extra in re.findall(r"\.\[(\w+)\]", shown.output):
        assert extra in project()["project"]["optional-dependencies"], f"pyproject.toml has no extra {extra!r}."


def verbs() -> list[str]:
    if not (ROOT / "README.md").exists():
        return []
    lines = [part for line in shell_lines(text("README.md")) for part in re.split(r"&&|\|\||;|\|", line)]
    return sorted({line.strip() for line in lines if re.match(r"\s*(?:\S*/)?sheetd\s", f"{line} ")})


def test_the_readme_shows_how_to_use_it() -> None:
    assert verbs(), "README.md shows no `sheetd ...` command in a ```sh block."


@pytest.mark.parametrize("line", verbs())
def test_a_command_of_the_readme_exists(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --help added the command line is parsed, options and all, and nothing is done."""
    from sheetd.cli import main  # noqa: PLC0415 - the other tests of this file read sources and import none

    words = shlex.split(line, comments=True)[1:]
    words = words[: words.index("&")] if "&" in words else words
    monkeypatch.setattr(sys, "argv", ["sheetd", *words, "--help"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0, f"README.md says `{line}`, and the program says:\n{capsys.readouterr().err}"


def test_a_link_of_the_readme_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", text("README.md"))
    reject([link for link in links if not (ROOT / link).exists()], "README.md links to files that do not exist.")
