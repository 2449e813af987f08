"""Templates: what a good one becomes, and that an unsafe or mistaken one is refused with its line and what to do."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sheetd.core.model import MetricRule, Restarts
from sheetd.core.template import Param, ParamType, Template, fill
from sheetd.errors import ConfigError
from sheetd.templates import RESERVED_HEADERS, load_template, load_templates

STARTER = Path(__file__).parents[2] / "templates" / "python-script.toml"
PYTHON = 'command = ["python3", "train.py", "--lr={lr}"]\n[params.lr]\ntype = "number"\n'

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def into_file(text: str, name: str = "mine.toml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return into_file


def complaint(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_template(path)
    return str(caught.value)


def test_the_starter_works_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    shutil.copy(STARTER, tmp_path / "templates")
    loaded = load_templates([tmp_path / "templates"])
    assert loaded.problems == ()
    template = loaded.templates["python-script"]
    assert template.code == str(tmp_path)
    assert fill(template.command, {"lr": 0.5, "steps": 10}) == ("python3", "train.py", "--lr=0.5", "--steps=10")


def test_every_key_arrives_in_the_template(write: Write, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    template = load_template(
        write("""
        description = "everything"
        command = ["python3", "train.py", "{data}", "lr={lr}", "--model={model}"]
        resume_args = ["--resume"]
        code = "code"
        cwd = "src"
        slots = 2
        memory_gb = 40
        share = 3
        where = "a100"
        grace_s = 30
        restarts = { max = 1, backoff_s = 0, backoff_max_s = 10, healthy_s = 60 }
        relaunches = 4
        allow_repeats = true
        env = { OMP_NUM_THREADS = "1" }
        secrets = ["WANDB_API_KEY"]
        [params.data]
        pattern = "[a-z]+"
        max_length = 20
        [params.lr]
        type = "number"
        default = 1
        min = 0
        max = 10.0
        live = true
        [params.model]
        type = "choice"
        choices = ["resnet", "vit"]
        default = "vit"
        [params.debug]
        type = "boolean"
        default = false
        [metrics]
        loss = {}
        "val/acc" = { regex = "acc=([0-9.]+)" }
        """)
    )
    assert template == Template(
        name="mine",
        command=("python3", "train.py", "{data}", "lr={lr}", "--model={model}"),
        resume_command=("python3", "train.py", "{data}", "lr={lr}", "--model={model}", "--resume"),
        params={
            "data": Param(name="data", pattern="[a-z]+", max_length=20),
            "lr": Param(name="lr", type=ParamType.NUMBER, default=1.0, minimum=0.0, maximum=10.0, live=True),
            "model": Param(name="model", type=ParamType.CHOICE, default="vit", choices=("resnet", "vit")),
            "debug": Param(name="debug", type=ParamType.BOOLEAN, default=False),
        },
        env={"OMP_NUM_THREADS": "1"},
        secrets=("WANDB_API_KEY",),
        code=str(tmp_path / "code"),
        cwd="src",
        slots=2,
        memory_gb=40.0,
        share=3,
        where="a100",
        grace_s=30.0,
        restarts=Restarts(max=1, backoff_s=0.0, backoff_max_s=10.0, healthy_s=60.0),
        relaunches=4,
        allow_repeats=True,
        metrics=(MetricRule(name="loss"), MetricRule(name="val/acc", regex="acc=([0-9.]+)")),
    )


def test_the_least_template_has_the_models_defaults(write: Write) -> None:
    assert load_template(write('command = ["true"]')) == Template(name="mine", command=("true",))


def test_a_resume_command_may_be_another_program(write: Write) -> None:
    template = load_template(write('command = ["a"]\nresume_command = ["b", "--again"]'))
    assert template.resume_command == ("b", "--again")


@pytest.mark.parametrize(
    "command",
    [
        '["python3", "train.py", "-c", "{x}"]',
        '["bash", "train.sh", "{x}"]',
        '["bash", "train.sh", "-c", "{x}"]',
        '["sh", "-c", "exec ./train.sh"]',
        '["python3", "-m", "train", "+model.depth={x}"]',
        '["./run", "{\\"json\\": 1}", "{}", "{0}", "%s", "$HOME"]',
        '["srun", "-N1", "python3", "-u", "train.py", "{x}"]',
    ],
)
def test_these_commands_are_safe(write: Write, command: str) -> None:
    assert load_template(write(f"command = {command}\n[params.x]\n")).command


# --- mistakes -----------------------------------------------------------------------------------------------------

SHELLS = [
    '["sh", "-c", "python3 train.py {x}"]',
    '["sh", "-c", "{x}"]',
    '["/bin/bash", "-lc", "{x}"]',
    '["bash", "-euo", "pipefail", "-c", "{x}"]',
    '["bash", "-l", "-c", "train $1", "train", "{x}"]',
    '["env", "A=1", "bash", "-c", "{x}"]',
    '["nice", "-n", "5", "zsh", "-c", "{x}"]',
    '["python3", "-c", "{x}"]',
    '["python3.11", "-uc", "{x}"]',
    '["perl", "-e", "{x}"]',
    '["node", "--eval", "{x}"]',
]


@pytest.mark.parametrize("command", SHELLS)
def test_text_from_a_cell_never_becomes_program_text(write: Write, command: str) -> None:
    assert "must never reach a shell" in complaint(write(f"command = {command}\n[params.x]\n"))


def test_a_shell_is_found_in_the_command_for_resuming_too(write: Write) -> None:
    shell = '["sh", "-c", "exec ./train.sh"]'
    path = write(f'command = {shell}\nresume_args = ["{{x}}"]\n[params.x]\n')
    assert f"{path}:2: resume_args: text from a cell must never reach a shell" in complaint(path)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("slots = 1\n", None, "command: is missing: add it"),
        ('command = "python3 train.py"\n', 1, 'as no shell splits it: ["python3", "train.py"]'),
        ("command = []\n", 1, 'command: is empty: name a program, such as ["python3", "train.py"]'),
        ('command = ["a", 1]\n', 1, "command #2: must be text in quotes"),
        ('command = ["a"]\nslot = 2\n', 2, 'slot: unknown key; did you mean "slots"?'),
        ('command = ["a", "--x={nope}"]\n', 1, "command #2: {nope} names no parameter: declare [params.nope]"),
        ('command = ["a", "{batch-size}"]\n', 1, "command #2: {batch-size} is no placeholder"),
        ('command = ["a", "{ x }"]\n[params.x]\n', 1, "command #2: { x } is no placeholder"),
        ('command = ["a", "out/{x}"]\n[params.x]\n', 1, "a whole element, or all that follows --name="),
        ('command = ["a", "--x={x}.pt"]\n[params.x]\n', 1, "one placeholder fills a whole element"),
        ('command = ["a", "--x={x}{x}"]\n[params.x]\n', 1, "one placeholder fills a whole element"),
        ('command = ["a", "--{x}=1"]\n[params.x]\n', 1, "one placeholder fills a whole element"),
        ('command = ["{x}"]\n[params.x]\n', 1, "command: a cell must not choose the program"),
        ('command = ["a"]\nresume_command = ["{x}"]\n[params.x]\n', 2, "resume_command: a cell must not choose"),
        ('command = ["a", "{x}"]\n[params.x]\ntype = "integer"\ndefault = -1\n', 1, "write --x={x}"),
        ('command = ["a", "\\u0000"]\n', 1, "command #2: holds a NUL character"),
        ('command = ["a"]\nresume_args = ["b"]\nresume_command = ["c"]\n', 2, "resume_args: use either resume_args or"),
        ('command = ["a"]\ncode = "nope"\n', 2, "code: there is no folder"),
        ('command = ["a"]\ncode = "."\ncwd = "../x"\n', 3, "cwd: is a folder inside the code"),
        ('command = ["a"]\ncwd = "src"\n', 2, "cwd: must be an absolute path on the host"),
        ('command = ["a"]\nslots = 0\n', 2, "slots: must be greater than or equal to 1"),
        ('command = ["a"]\ngrace_s = -1\n', 2, "grace_s: must be greater than or equal to 0"),
        ('command = ["a"]\nrestarts = 3\n', 2, "restarts: must be a table"),
        ('command = ["a"]\nrestarts = { maximum = 3 }\n', 2, 'restarts.maximum: unknown key; did you mean "max"?'),
        ('command = ["a"]\n[params]\nlr = 0.1\n', 3, "params.lr: must be a table"),
        ('command = ["a"]\n[params.lr]\ntyp = "number"\n', 3, 'params.lr.typ: unknown key; did you mean "type"?'),
        ('command = ["a"]\n[params.lr]\ntype = "float"\n', 3, "type: must be 'text', 'integer', 'number',"),
        ('command = ["a"]\n[params.a-b]\n', 2, "params.a-b: cannot be a name here"),
        ('command = ["a"]\n[params.Status]\n', 2, 'params.Status: "Status" is a column of sheetd itself'),
        ('command = ["a"]\n[params.lr]\n[params.LR]\n', 3, 'params.LR: would share a column with "lr"'),
        ('command = ["a"]\n[params.loss]\n[metrics]\nloss = {}\n', 4, 'metrics.loss: would share a column with "loss"'),
        ('command = ["a"]\n[metrics]\n"loss:min" = {}\n', 3, "metrics.loss:min: cannot be a name here"),
        ('command = ["a"]\n[metrics]\nacc = {regex = "acc=[0-9]+"}\n', 3, "needs exactly one group (...)"),
        ('command = ["a"]\n[metrics]\nacc = {regex = "(a)(b)"}\n', 3, "and has 2"),
        ('command = ["a"]\n[metrics]\nacc = {regex = "("}\n', 3, "is not a regular expression"),
        ('command = ["a"]\n[params.x]\npattern = "["\n', 3, "params.x.pattern: is not a regular expression"),
        ('command = ["a"]\n[params.x]\ntype = "integer"\npattern = "1"\n', 4, "params.x.pattern: is for text"),
        ('command = ["a"]\n[params.x]\nmin = 1\n', 2, "params.x.type: min and max are for number and integer"),
        ('command = ["a"]\n[params.x]\ntype = "number"\nmin = 2\nmax = 1\n', 4, "params.x.min: is larger than max"),
        ('command = ["a"]\n[params.x]\ntype = "number"\nmax = 1\ndefault = 2\n', 5, "params.x.default: 2 is outside"),
        ('command = ["a"]\n[params.x]\ntype = "number"\ndefault = inf\n', 4, "params.x.default: inf is outside"),
        ('command = ["a"]\n[params.x]\ntype = "number"\ndefault = "0.1"\n', 4, "params.x.default: '0.1' is no number"),
        ('command = ["a"]\n[params.x]\ntype = "integer"\ndefault = 0.5\n', 4, "params.x.default: 0.5 is no integer"),
        ('command = ["a"]\n[params.x]\ntype = "integer"\ndefault = true\n', 4, "params.x.default: True is no integer"),
        ('command = ["a"]\n[params.x]\ntype = "boolean"\ndefault = 1\n', 4, "params.x.default: 1 is no boolean"),
        ('command = ["a"]\n[params.x]\npattern = "a+"\ndefault = "b"\n', 4, "'b' does not match the pattern"),
        ('command = ["a"]\n[params.x]\ntype = "choice"\n', 2, "params.x.choices: a choice needs its choices"),
        ('command = ["a"]\n[params.x]\nchoices = ["a"]\n', 3, "params.x.choices: a choice needs its choices, and only"),
        ('command = ["a"]\n[params.x]\ntype = "choice"\nchoices = ["a", "A "]\n', 4, "differ in case or spaces only"),
        ('command = ["a"]\n[params.x]\ntype = "choice"\nchoices = ["a"]\ndefault = "b"\n', 5, "'b' is no choice"),
        ('command = ["a"]\nenv = { "A B" = "1" }\n', 2, "env.A B: cannot be set"),
        ('command = ["a"]\nenv = { LR = "{lr}" }\n[params.lr]\n', 2, "env.LR: parameters are not filled in here"),
        ('command = ["a"]\nsecrets = ["KEY=abc"]\n', 2, "secrets: 'KEY=abc' is no name of an environment variable"),
        ('command = ["a"]\nenv = { K = "v" }\nsecrets = ["K"]\n', 3, "secrets: K is in env too"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_file_line_key_and_what_to_do(
    write: Write, text: str, line: int | None, says: str
) -> None:
    path = write(text)
    found = complaint(path)
    assert says in found
    assert f"{path}:{line}: " in found if line is not None else f"{path}: " in found
    assert "\n" not in found, "one mistake, one line"


@pytest.mark.parametrize("name", sorted(RESERVED_HEADERS))
def test_no_parameter_takes_a_column_that_sheetd_needs(write: Write, name: str) -> None:
    assert "is a column of sheetd itself" in complaint(write(f'command = ["a"]\n[params.{name}]\n'))


def test_a_value_of_env_is_never_repeated_in_an_error(write: Write) -> None:
    assert "hunter2" not in complaint(write('command = ["a"]\n[env]\nPASSWORD = ["hunter2"]\n'))


def test_all_mistakes_of_a_file_are_named_at_once(write: Write) -> None:
    found = complaint(write('command = ["a", "{b}", "{c}"]\n[params.status]\n[metrics]\nacc = {regex = ""}\n'))
    assert len(found.splitlines()) == 4


# --- folders ------------------------------------------------------------------------------------------------------


def test_a_bad_file_is_reported_and_the_others_work(tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text(PYTHON)
    (tmp_path / "bad.toml").write_text("command = 3\n")
    (tmp_path / "broken.toml").write_text("[")
    (tmp_path / "notes.md").write_text("not a template")
    loaded = load_templates([tmp_path])
    assert set(loaded.templates) == {"good"}
    assert len(loaded.problems) == 2
    assert any(f"{tmp_path / 'bad.toml'}:1: command: must be a list" in problem for problem in loaded.problems)


def test_two_templates_of_one_name_are_reported_and_the_first_counts(tmp_path: Path) -> None:
    for folder, text in (("a", 'command = ["first"]'), ("b", 'command = ["second"]')):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{'Train' if folder == 'b' else 'train'}.toml").write_text(text)
    loaded = load_templates([tmp_path / "a", tmp_path / "b"])
    assert loaded.templates["train"].command == ("first",)
    assert set(loaded.templates) == {"train"}
    assert "has this name already" in loaded.problems[0]


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    assert "there is no template folder" in load_templates([tmp_path / "nope"]).problems[0]


def test_a_files_name_must_be_fit_for_a_cell(write: Write) -> None:
    path = write('command = ["a"]', "my template!.toml")  # type: ignore[call-arg]
    assert "the file's name is the template's name" in complaint(path)
