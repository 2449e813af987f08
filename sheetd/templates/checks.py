"""What a template must not do, as sentences for the operator.

A template is what an operator vouches for, so this is where an unsafe one is refused: cells fill values, never the
program's name, an option's name or a piece of shell text (CVE-2020-11978 was a parameter in a shell command, in an
example that shipped). A cell that stands alone in an element must not begin with `-`, since the program would take it
for an option; `core.validation` refuses such values row by row, and `--name={x}` takes them all.

Weak point: a program may still treat an argument as code; no lint finds that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from sheetd.core.rows import CONTROL_HEADERS, SYSTEM_HEADERS, canonical
from sheetd.core.template import PLACEHOLDER, ParamType, as_argument, placeholders
from sheetd.templates.document import ParamSection, TemplateFile
from sheetd.tomlfile import Key

#: Headers with a meaning of their own; a parameter or metric of that name could never have a column.
RESERVED_HEADERS = frozenset((*CONTROL_HEADERS, *SYSTEM_HEADERS))

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_METRIC_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]{0,62}")
#: `{x}` alone, `--name={x}`, or the `name={x}` of Hydra and of make. Nothing else may be beside a placeholder.
_ONE_VALUE = re.compile(r"(?:-{0,2}[A-Za-z0-9+~][A-Za-z0-9_./@+~-]*=)?\{[A-Za-z_][A-Za-z0-9_]*\}")
#: Braces that look meant as a placeholder and are none, such as {batch-size}.
_ALMOST = re.compile(r"\{\s*[A-Za-z_][A-Za-z0-9_. -]*\}")
#: Programs that take program text as an argument, and the options that say so.
_TAKES_CODE = re.compile(r"(?:ba|da|z|k|mk|c|tc|fi|a)?sh|(?:python|pypy|perl|ruby|node|php|Rscript|lua)[0-9.]*")
_CODE_OPTION = re.compile(r"-[A-Za-z]*[ceE]|--(?:eval|command|print)|-r")

Problem = tuple[Key, str]


def problems_of(template: str, found: TemplateFile) -> Iterator[Problem]:
    """Everything that is wrong with the template of this name, each with the key it is about."""
    if not _NAME.fullmatch(template):
        yield (), "the file's name is the template's name: use letters, digits, dots, - and _"
    yield from _program_problems(found)
    for key, elements in found.argument_lists.items():
        yield from _element_problems(key, elements, found.params)
    yield from _header_problems(found)
    for name, param in found.params.items():
        yield from ((("params", name, *key), text) for key, text in _param_problems(param))
    for name, metric in found.metrics.items():
        yield from ((("metrics", name), text) for text in _regex_problems(metric.regex))
    yield from _environment_problems(found)
    if found.cwd is not None:
        yield from (
            (("cwd",), text) for text in _folder_problems(PurePosixPath(found.cwd), inside=found.code is not None)
        )


def _folder_problems(cwd: PurePosixPath, *, inside: bool) -> Iterator[str]:
    if inside and (cwd.is_absolute() or ".." in cwd.parts):
        yield 'is a folder inside the code, such as "src": it must be relative and without ..'
    if not inside and not cwd.is_absolute():
        yield "must be an absolute path on the host, since this template ships no code"


def _program_problems(found: TemplateFile) -> Iterator[Problem]:
    if found.resume_command is not None and found.resume_args is not None:
        yield ("resume_args",), "use either resume_args or resume_command, not both"
    resume_key = "resume_args" if found.resume_command is None else "resume_command"
    for key, command in (("command", found.command), (resume_key, found.whole_resume_command)):
        if key in found.argument_lists and not (command and command[0]):
            yield (key,), 'is empty: name a program, such as ["python3", "train.py"]'
        elif command and placeholders(command[0]):
            yield (key,), "a cell must not choose the program: its name has to stand in the template"
        if any(placeholders(element) for element in command) and _runs_text(command):
            yield (
                (key,),
                (
                    "text from a cell must never reach a shell or an interpreter as program text:"
                    " put the program into a file of its own and give it arguments"
                ),
            )


def _element_problems(name: str, command: Sequence[str], params: Mapping[str, ParamSection]) -> Iterator[Problem]:
    for index, element in enumerate(command):
        key = (name, index)
        names = placeholders(element)
        for almost in _ALMOST.findall(PLACEHOLDER.sub("", element)):
            yield key, f"{almost} is no placeholder: a parameter's name has letters, digits and _ only"
        for unknown in [one for one in names if one not in params]:
            yield key, f"{{{unknown}}} names no parameter: declare [params.{unknown}], or remove it"
        if names and not _ONE_VALUE.fullmatch(element):
            yield key, f"{element!r}: one placeholder fills a whole element, or all that follows --name="
        if "\0" in element:
            yield key, "holds a NUL character, which no program can be given"
        if element in {f"{{{one}}}" for one in names if one in params and _starts_with_dash(params[one].default)}:
            yield key, f"its default begins with - and would be read as an option: write --{names[0]}={element}"


def _starts_with_dash(default: object) -> bool:
    return isinstance(default, str | int | float) and as_argument(default).startswith("-")


def _runs_text(command: Sequence[str]) -> bool:
    """Whether the command has `sh -c`, `python -c` or the like in it, also behind `env`, `nice` or `srun`."""
    for start, program in enumerate(command):
        if not _TAKES_CODE.fullmatch(PurePosixPath(program).name):
            continue
        takes_value = False
        for option in command[start + 1 :]:
            if not option.startswith("-") and not takes_value:
                break
            if _CODE_OPTION.fullmatch(option):
                return True
            takes_value = option.startswith("-") and option[-1] in "oOWX"
    return False


def _header_problems(found: TemplateFile) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for kind, names, pattern in (("params", found.params, _WORD), ("metrics", found.metrics, _METRIC_NAME)):
        for name in names:
            if not pattern.fullmatch(name):
                yield (kind, name), "cannot be a name here: use letters, digits and _, and begin with a letter"
            if canonical(name) in RESERVED_HEADERS:
                yield (kind, name), f'"{name}" is a column of sheetd itself: choose another name'
            if canonical(name) in seen:
                yield (kind, name), f'would share a column with "{seen[canonical(name)]}": choose another name'
            seen[canonical(name)] = name


def _param_problems(param: ParamSection) -> Iterator[Problem]:
    numeric = param.type in (ParamType.NUMBER, ParamType.INTEGER)
    if not numeric and (param.min is not None or param.max is not None):
        yield ("type",), f"min and max are for number and integer, and this is {param.type.value}"
    if param.min is not None and param.max is not None and param.min > param.max:
        yield ("min",), "is larger than max"
    if (param.type is ParamType.CHOICE) != bool(param.choices):
        yield (
            ("choices",),
            'a choice needs its choices, and only a choice has them: type = "choice", choices = ["a", "b"]',
        )
    if len({canonical(one) for one in param.choices}) < len(param.choices):
        yield ("choices",), "two of them differ in case or spaces only"
    if param.pattern is not None:
        if param.type is not ParamType.TEXT:
            yield ("pattern",), f"is for text, and this is {param.type.value}"
        try:
            re.compile(param.pattern)
        except re.error as error:
            yield ("pattern",), f"is not a regular expression: {error}"
            return
    if param.default is not None:
        yield from ((("default",), text) for text in _default_problems(param, param.default))


def _default_problems(param: ParamSection, default: object) -> Iterator[str]:
    is_number = isinstance(default, int | float) and not isinstance(default, bool)
    fits = {
        ParamType.TEXT: isinstance(default, str),
        ParamType.CHOICE: default in param.choices,
        ParamType.BOOLEAN: isinstance(default, bool),
        ParamType.INTEGER: is_number and isinstance(default, int),
        ParamType.NUMBER: is_number,
    }[param.type]
    if not fits:
        yield f"{default!r} is no {param.type.value}"
    elif is_number and isinstance(default, int | float):
        low = param.min if param.min is not None else float("-inf")
        high = param.max if param.max is not None else float("inf")
        if not low <= default <= high or default in (float("inf"), float("-inf")):
            yield f"{default!r} is outside of what min and max allow"
    elif isinstance(default, str) and param.type is ParamType.TEXT:
        if len(default) > param.max_length:
            yield f"is longer than max_length ({param.max_length})"
        if param.pattern is not None and not re.fullmatch(param.pattern, default):
            yield f"{default!r} does not match the pattern"


def _regex_problems(regex: str | None) -> Iterator[str]:
    if regex is None:
        return
    try:
        groups = re.compile(regex).groups
    except re.error as error:
        yield f"is not a regular expression: {error}"
        return
    if groups != 1:
        yield f"needs exactly one group (...) around the number, and has {groups}; (?:...) groups without counting"


def _environment_problems(found: TemplateFile) -> Iterator[Problem]:
    for name, value in found.env.items():
        if not _WORD.fullmatch(name) or name.startswith("SHEETD_"):
            yield ("env", name), "cannot be set: use letters, digits and _, and not the prefix SHEETD_"
        if "\0" in value:
            yield ("env", name), "holds a NUL character, which no program can be given"
        if set(placeholders(value)) & set(found.params):
            yield ("env", name), "parameters are not filled in here: read them with sheetd.params(), or use the command"
    for name in found.secrets:
        if not _WORD.fullmatch(name):
            yield ("secrets",), f"{name!r} is no name of an environment variable; values never stand in a template"
        elif name.startswith("SHEETD_"):
            yield ("secrets",), f"{name} begins like sheetd's own variables: give the secret another name"
        if name in found.env:
            yield ("secrets",), f"{name} is in env too: a secret has no value in a template, so remove it there"
