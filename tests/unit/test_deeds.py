"""What a whole Bash text does: what it writes by name, what it only sets up, and what cannot be said."""

from __future__ import annotations

import pytest

from stretto.commands import NAMES, deeds_of
from stretto.commands.deeds import Written


def outcome(text: str) -> tuple[str, list[str]]:
    deeds = deeds_of(text, NAMES)
    return deeds.effect, [f"{each.path}{'' if each.by_check else ' (not of a check)'}" for each in deeds.written]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("pytest -q > /tmp/log 2>&1; tail -3 /tmp/log", ["/tmp/log"]),
        ("pytest -q &> log; echo EXIT $?", ["log"]),
        ("pytest -q > log; echo EXIT $? >> log", ["log", "log"]),
        ("pytest -q 2>&1 | tee log | tail -3", ["log"]),
        ("pytest -q 2>&1 | tee -a log", ["log"]),
        ("pytest -q 2>&1 | grep -v warn | tee /tmp/log", ["/tmp/log"]),
        ("mkdir -p logs && pytest", ["logs (not of a check)"]),
        ("mkdir -p /tmp/out && pytest > /tmp/out/log", ["/tmp/out", "/tmp/out/log"]),
        ("git diff > x.patch; pytest", ["x.patch (not of a check)"]),
        ("pytest; git diff | tee x.patch", ["x.patch (not of a check)"]),
        ('export PATH="$HOME/.local/bin:$PATH" && pytest -q', []),
        ('PATH="$PWD/x:$PATH" pytest -q', []),
        ("set -o pipefail; ulimit -n 4096 && umask 022 && pytest | tail", []),
        ('eval "$(true)" && pytest -q', []),
        ('eval "$(pyenv init -)" && pytest -q', []),
        ('export NVM_DIR="$HOME/.nvm"; [ -s "$NVM_DIR/nvm.sh" ] && . "$NVM_DIR/nvm.sh"; nvm use 20 >/dev/null && npm test', []),
        ("source ./nvm.sh && nvm use 20 >/dev/null && pytest -q", []),
        ('cd "$(git rev-parse --show-toplevel)" && pytest', []),
        ("conda activate dev && pytest", []),
    ],
)
def test_a_text_that_sets_up_a_shell_runs_checks_and_writes_what_it_names_is_understood(text, written):
    assert outcome(text) == ("checks", written)


@pytest.mark.parametrize(
    "text",
    [
        "pytest > log &",
        "( pytest > log ) & wait; tail log",
        'eval "$(./setup.sh)" && pytest',
        'eval "$(pyenv init -; ./x)" && pytest',
        'eval "$(pyenv init -)$(./x)" && pytest',
        'eval "$CMD" && pytest',
        "eval pytest",
        "source ./env.sh && pytest",
        ". ./nvm.sh.bak && pytest",
        "export PATH=/opt/bin && pytest",
        "export PATH='$HOME/bin:$PATH' && pytest",
        'export PATH="$(./x):$PATH" && pytest',
        'export PATH="$DIR:$PATH" && pytest',
        'PATH="$PATH:$PATH:" pytest',
        "export LD_PRELOAD=x.so && pytest",
        "mkdir -m 777 x && pytest",
        'mkdir -p "$OUT" && pytest',
        "touch -d yesterday a.py && pytest",
        "tee x < y",
        "rm -f log && pytest > log",
        "pytest | tee >(cat > x)",
        "nvm use && ls",
        "mise use node@22 && pytest",
        "pyenv local 3.12 && pytest",
    ],
)
def test_what_cannot_be_said_for_certain_is_of_unknown_effect(text):
    assert deeds_of(text, NAMES).effect in ("other", "package") or not deeds_of(text, NAMES).written[0].by_check


def test_where_a_file_may_lie_is_every_folder_the_text_went_to():
    (log,) = deeds_of("cd web && (cd api; pytest > log)", NAMES).written
    assert log == Written(path="log", folders=("", "web", "api", "web/api"), by_check=True)
    assert deeds_of("cd $X && pytest > log", NAMES).written[0].folders == ()
    assert deeds_of("cd - && pytest > log", NAMES).written[0].folders == ()


@pytest.mark.parametrize(
    ("text", "programs"),
    [
        ('export PATH="$HOME/bin:x:$PATH" && pytest | tail -3', ["$HOME/bin/tail", "x/tail"]),
        ("export PATH=$PATH:x && pytest | tail -3", []),
        ("PATH=x:$PATH pytest | tail -3; head y", []),
        ("PATH=x:$PATH tail y; pytest", ["x/tail"]),
        ("export PATH=x:$PATH; timeout 60 pytest", ["x/timeout", "x/60", "x/pytest"]),
        ("export PATH=x:$PATH; bash -c 'pytest | tail'", ["x/bash", "x/pytest", "x/tail", "x/tail"]),
        ("export PATH=x:$PATH; echo a; cd y", []),
    ],
)
def test_a_reader_behind_a_changed_path_is_one_as_long_as_no_other_program_comes_first(text, programs):
    assert [program.path for program in deeds_of(text, NAMES).programs] == programs


def test_what_mkdir_names_is_a_folder_and_what_others_name_is_none():
    assert [(each.path, each.folder) for each in deeds_of("mkdir -p /a b && touch /c && pytest > d", NAMES).written] == [
        ("/a", True),
        ("b", True),
        ("/c", False),
        ("d", False),
    ]
