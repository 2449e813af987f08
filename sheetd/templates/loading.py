"""From files to templates. A relative `code` is relative to the file that names it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sheetd.core import model
from sheetd.core.rows import canonical
from sheetd.core.template import Param, ParamType, Template
from sheetd.errors import ConfigError
from sheetd.templates.checks import problems_of
from sheetd.templates.document import ParamSection, TemplateFile
from sheetd.tomlfile import TomlFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What a set of folders holds: the good templates by name, and sentences about the others."""

    templates: Mapping[str, Template]
    problems: tuple[str, ...] = ()
    #: The names of those others.
    broken: frozenset[str] = frozenset()


def load_templates(folders: Iterable[Path]) -> Loaded:
    """Every `*.toml` in these folders. A bad file becomes a problem and does not touch the others."""
    templates: dict[str, Template] = {}
    origins: dict[str, Path] = {}
    problems: list[str] = []
    broken: set[str] = set()
    for folder in folders:
        if not folder.is_dir():
            problems.append(f"there is no template folder {folder}: create it or correct sheetd.toml")
            continue
        for path in sorted(folder.glob("*.toml")):
            try:
                template = load_template(path)
            except ConfigError as error:
                problems.extend(str(error).splitlines())
                broken.add(path.stem)
                continue
            # Rows name templates without regard to case, so two that differ in case only are one name.
            first = origins.setdefault(canonical(template.name), path)
            if first != path:
                problems.append(f"{path}: {first} has this name already: rename one of the two files")
                continue
            templates[template.name] = template
    return Loaded(templates=templates, problems=tuple(problems), broken=frozenset(broken))


def load_template(path: Path) -> Template:
    """The template in one file, named after it. Raises ConfigError with every mistake, one on a line."""
    file = TomlFile(path)
    found = file.build(TemplateFile)
    code = None if found.code is None else _beside(path, found.code)
    problems = [file.complaint(key, text) for key, text in problems_of(path.stem, found)]
    if code is not None and not code.is_dir():
        problems.append(file.complaint(("code",), f"there is no folder {code}: it is relative to this file"))
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)))
    return Template(
        name=path.stem,
        command=found.command,
        resume_command=found.whole_resume_command,
        params={name: _param(name, section) for name, section in found.params.items()},
        env=dict(found.env),
        secrets=found.secrets,
        code=None if code is None else str(code),
        cwd=found.cwd,
        slots=found.slots,
        memory_gb=found.memory_gb,
        share=found.share,
        where=found.where,
        grace_s=found.grace_s,
        restarts=model.Restarts(**found.restarts.model_dump()),
        relaunches=found.relaunches,
        allow_repeats=found.allow_repeats,
        metrics=tuple(model.MetricRule(name=name, regex=one.regex) for name, one in found.metrics.items()),
    )


def _beside(path: Path, folder: str) -> Path:
    return Path(os.path.normpath(path.absolute().parent / Path(folder).expanduser()))


def _param(name: str, section: ParamSection) -> Param:
    default = section.default
    if section.type is ParamType.NUMBER and default is not None:
        default = float(default)
    return Param(
        name=name,
        type=section.type,
        default=default,
        minimum=section.min,
        maximum=section.max,
        choices=section.choices,
        pattern=section.pattern,
        max_length=section.max_length,
        live=section.live,
    )
