"""Templates as operators write them: one TOML file each, checked, into `core.template.Template`.

`document` says what may stand in a file, `checks` what a template must not do, `loading` reads the folders. One bad
file takes down only itself.
"""

from sheetd.templates.checks import RESERVED_HEADERS
from sheetd.templates.loading import Loaded, load_template, load_templates

__all__ = ["RESERVED_HEADERS", "Loaded", "load_template", "load_templates"]
