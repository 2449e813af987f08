"""What an experiment does, as a short digest: two with the same do the same, wherever they are executed, and when."""

from __future__ import annotations

import hashlib

from sheetd.core.model import Spec
from sheetd.core.template import as_argument


def work_of(spec: Spec) -> bytes:
    """The template as it was filled in, its frozen code, the parameters, and whose output it starts from.

    An operator who edits a template's command makes another thing of it. A number counts as it is spelled on a command
    line, so that 1 and 1.0 are the same.
    """
    params = sorted((name, as_argument(value)) for name, value in spec.params.items())
    told = (spec.template, spec.code, spec.argv, sorted(spec.env.items()), spec.cwd, params, spec.after)
    return hashlib.blake2b(repr(told).encode("utf-8", "surrogatepass"), digest_size=12).digest()
