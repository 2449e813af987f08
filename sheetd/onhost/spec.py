"""What a launch may ask for. A mistake must show here, in the answer, and not in a half-made start."""

import re
from typing import Any, Dict

from .attempt import SHA, Refused
from .lease import SHARES_MAX
from .points import is_number

ACCELERATOR = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,89}\Z")  # with the rest of a lease's name it fits a socket's
ACCELERATORS_MAX = 64
ENV_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*\Z")

Json = Dict[str, Any]


def checked_spec(spec: Any) -> Json:
    """The spec, or a refusal that names what is wrong: a mistake must show at the launch, not in a half-made start."""

    def need(good: bool, what: str) -> None:
        if not good:
            raise Refused("bad_request", "spec: {}".format(what))

    def is_text(value: Any) -> bool:
        return isinstance(value, str) and "\0" not in value

    need(isinstance(spec, dict), "not an object")
    for name in ("argv", "resume_argv"):
        argv = spec.get(name)
        absent = argv is None and name == "resume_argv"
        need(
            absent or (isinstance(argv, list) and bool(argv) and all(map(is_text, argv))), name + " is no list of texts"
        )
    check_environment(spec.get("env") or {})
    code, cwd = spec.get("code"), spec.get("cwd")
    need(code is None or (isinstance(code, str) and SHA.match(code) is not None), "code is no sha256")
    need(cwd is None or (is_text(cwd) and ".." not in cwd.split("/")), "cwd is no path below the code")
    restarts = spec.get("restarts") or {}
    for name, value in {**restarts, "grace_s": spec.get("grace_s", 60)}.items():
        need(is_number(value) and value >= 0, "{} is no number of at least 0".format(name))
    for metric in spec.get("metrics") or []:
        need(is_text(metric.get("name")) and is_text(metric.get("regex")), "a metric needs name and regex")
        try:
            re.compile(metric["regex"].encode("utf-8"))
        except re.error as error:
            raise Refused("bad_request", "spec: the regex of metric {}: {}".format(metric["name"], error))
    check_accelerators(spec.get("accelerators") or [])
    checked: Json = spec
    return checked


def check_accelerators(wanted: Any) -> None:
    """A list of {"kind", "id"}, and "share" for a part of one."""
    good = isinstance(wanted, list) and len(wanted) <= ACCELERATORS_MAX
    for one in wanted if good else []:
        good = good and isinstance(one, dict) and one.get("kind") in ("nvidia", "amd", "tpu")
        good = good and isinstance(one.get("id"), str) and ACCELERATOR.match(one["id"]) is not None
        share = one.get("share") if good else None
        good = good and (share is None or (type(share) is int and 0 <= share < SHARES_MAX))
    if not good or len({one["id"] for one in wanted}) < len(wanted):
        raise Refused("bad_request", "spec: accelerators is no list of different ones, each with kind and id")


def check_environment(env: Any) -> None:
    good = isinstance(env, dict) and all(
        ENV_NAME.match(name) and isinstance(value, str) and "\0" not in value for name, value in env.items()
    )
    if not good:
        raise Refused("bad_request", "env and secrets must map names of letters, digits and _ to texts")
