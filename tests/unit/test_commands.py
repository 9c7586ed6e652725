"""What a whole Bash text does to the tree, and what of a command may be shown."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from stretto.commands import LINE_CHARS, NAMES, REDACTED, TOTAL_CHARS, display, effect_of, parts_of, python_file, redact
from stretto.sessions import UNKNOWN_EFFECTS

# Shapes in which agents really ask for checks (modelled on session timelines), with what they are; `¶` is the end of a line.
# A miss says why in its third column.
CORPUS = r"""
    checks   mise run lint 2>&1
    checks   mise run test 2>&1 | tail -30
    checks   mise run lint && mise run test 2>&1 | tail -15
    checks   mise run lint 2>&1 | tail -5 && mise run test 2>&1 | tail -12
    checks   mise run test -- -run "TestA|TestB" ./pkg/... -v 2>&1 | grep -A 20 "=== RUN"
    checks   go test ./pkg/... -run "TestA_(B|C)" -v -count=1 2>&1 | grep -E "^(=== RUN|--- PASS|--- FAIL|ok)" | head -100
    checks   go test ./... 2>&1 | grep -E '^\s*--- (PASS|FAIL)|^ok' | sort -t'(' -k2 -rn | head -20
    checks   go test ./... -v 2>&1 | grep -E "(PASS$|FAIL$)" | wc -l
    checks   go build ./... && go vet ./... && go test ./... 2>&1 | tail -20
    checks   go build -o /dev/null ./cmd/x 2>&1 | head -20
    checks   go vet ./... 2>&1; staticcheck ./... 2>&1 || true
    checks   golangci-lint run ./... 2>&1 | head -30
    checks   cd sub/dir && go test -v -run TestA 2>&1
    checks   cd /repo && pytest -q 2>&1 | tail -20
    checks   cd "$HOME/repo" && pytest -q
    checks   pytest -q; echo "exit: $?"
    checks   pytest -x -q 2>&1 | tail -20; echo "${PIPESTATUS[0]}"
    checks   set -o pipefail; pytest -q 2>&1 | tail -5
    checks   FOO=1 timeout 60 go test ./... 2>&1 | grep -E "FAIL|ok"
    checks   PYTHONPATH=src python -m pytest tests -q 2>&1 | tail -3
    checks   env CI=1 pytest -q
    checks   export X=1; pytest -q
    checks   source .venv/bin/activate && pytest
    checks   . venv/bin/activate && python -m mypy src 2>&1 | head
    checks   timeout -k 5 120 npm test -- --run 2>&1 | tail -40
    checks   time make test
    checks   (cd web && npm run lint) && pytest
    checks   bash -c 'cd x && pytest -q'
    checks   if pytest -q; then echo ok; else echo bad; fi
    checks   for i in 1 2 3; do pytest -q; done
    checks   ruff check . && ruff format --check . && mypy src
    checks   npx tsc --noEmit 2>&1 | head -50
    checks   pnpm --filter web typecheck && pnpm --filter web test 2>&1 | tail -60
    checks   yarn test 2>&1 | sed -n '1,40p'
    checks   cargo test -p core 2>&1 | grep -v warning | tail -30
    checks   uv run pytest tests/unit -q 2>&1 | tail -15
    checks   git status --short && pytest -q
    checks   command -v ruff && ruff check .
    checks   pytest -q \¶  tests/unit 2>&1 | tail
    checks   # run the tests¶pytest -q
    other    mise run fmt && mise run lint                           | not in a form that only checks
    other    ruff check --fix . && pytest                            | not in a form that only checks
    other    go clean -testcache && go test ./...                    | not in a form that only checks
    other    go build -o x ./cmd/x && ./x help                       | not a known command
    other    git stash && go test ./...                              | may write
    other    pytest > /tmp/out.txt 2>&1; tail /tmp/out.txt           | writes to a file
    other    pytest -q | tee out.txt                                 | writes to a file
    other    pytest &                                                | background
    other    for f in a b; do pytest $f; done                        | computed
    other    pytest $(git diff --name-only)                          | computed
    other    pytest $(./pick)                                        | not a known command
    other    cd `git rev-parse --show-toplevel` && pytest            | not understood
    other    cat > a.py <<'EOF'¶x = 1¶EOF¶pytest                  | not understood
    other    bash -lc pytest                                         | not a known command
    other    .venv/bin/pytest -q                                     | not a known command
    other    PATH=.venv/bin:$PATH pytest                             | decides what a name runs
    other    STRETTO=off pytest                                      | decides what a name runs
    other    UPDATE_SNAPSHOTS=1 pytest                               | not in a form that only checks
    other    find . -name '*.py' | xargs ruff check                  | not a known command
    other    python manage.py check                                  | not in a form that only checks
    other    timeout 60 node --test                                  | not a known command
    other    docker compose run app pytest                           | not a known command
    package  pip install -e . && pytest
    package  npm ci && npm test
    package  uv sync && uv run pytest
    package  go get ./... && go test ./...
    package  command -v ruff || pip install ruff
    package  sudo apt-get install -y jq
    package  python -m venv .venv && . .venv/bin/activate && pip install pytest
    package  bash -lc "poetry install"
    package  x=$(npm install)
    reads    git log --oneline -5 && git diff --stat
    reads    git -C sub --no-pager show HEAD:a.py | head -20
    reads    ls -la; cat pyproject.toml | head -40
    reads    grep -rn "def main" src --include=*.py | head
    reads    find . -name '*.go' -not -path './vendor/*' | wc -l
    reads    sed -n '10,40p' a.py
    reads    awk -F: '{print $1}' a.txt | sort -u | uniq -c
    reads    [ -f a.py ] && echo yes || echo no
    reads    grep "pip install" README.md
    reads    echo "npm install && rm -rf x"
    reads    git branch --show-current; git stash list; git remote -v
    reads    pytest --version 2>/dev/null
    reads    NO_COLOR=1 ls *.py 2>/dev/null
"""


def each(table: str) -> list[str]:
    """The commands of a table, `¦` between two and `¶` for the end of a line inside one."""
    return [command.strip().replace("¶", "\n") for line in table.splitlines() for command in line.split("¦") if command.strip()]


def rows() -> list[object]:
    found = []
    for line in CORPUS.splitlines()[1:]:
        effect, command = line[4:13].strip(), line[13:].strip()
        if effect == "other":
            command, _, reason = command.rpartition("|")
        found.append(pytest.param(command.strip().replace("¶", "\n"), effect, reason.strip() if effect == "other" else "", id=command))
    return found


@pytest.mark.parametrize(("command", "effect", "reason"), rows())
def test_effect_of_real_shape_is_known_and_every_miss_has_its_reason(command, effect, reason):
    """F39: real shapes are recognised; what is not says why."""
    parts = parts_of(command, NAMES)
    assert effect_of(command, NAMES) == effect
    assert reason in " ".join(part.reason for part in parts)
    assert all(bool(part.reason) == (part.effect in ("other", "package")) for part in parts)


def test_effect_of_corpus_of_checks_is_recognised_for_the_most_part():
    """F39: the hit rate over the shapes that ask for a check at all."""
    asked = [row.values for row in rows() if row.values[1] in ("checks", "other")]
    assert sum(effect == "checks" for _, effect, _ in asked) / len(asked) > 0.6


WRITES = r"""
    touch x ¦ ls; touch x ¦ ls¶touch x ¦ ls & touch x ¦ ls && touch x ¦ ls > x ¦ ls >> x ¦ ls &> x ¦ echo `touch x` ¦ eval ls
    echo $(touch x) ¦ echo "$(touch x)" ¦ cat <(touch x) ¦ ls | xargs rm ¦ find . -exec rm {} ; ¦ find . -delete ¦ find . $X
    find . * ¦ find . {-delete,-print} ¦ sed -i s/a/b/ x ¦ sed -n '1w y' x ¦ sed 's/a/b/e' x ¦ sed 's/a/b/w y' x
    sort -o x y ¦ sort -uo x y ¦ sort --outp=x y ¦ uniq a b ¦ tee x ¦ awk 'BEGIN{system("ls")}' ¦ awk '{print > "x"}' a
    awk -f x ¦ tree -o x ¦ awk '{print | "sh"}' a ¦ git commit -m x ¦ git -c core.pager=x log ¦ git diff --output=x
    git diff --outp=x ¦ git log --ext-diff ¦ git grep -Osh a ¦ git grep --open-files-in-pager=sh a ¦ git branch x
    git branch -D x ¦ git tag x ¦ git config a.b c ¦ git stash ¦ git rev-list --output=x HEAD ¦ git diff $X
    git worktree add x ¦ git remote add a b ¦ git reflog expire ¦ git fetch ¦ date -s x ¦ ls() { touch x; }; ls
    function ls { touch x; }; ls ¦ alias ls=rm; ls ¦ PATH=. ls ¦ export PATH=.; ls ¦ LD_PRELOAD=x ls ¦ X=1 ls
    GIT_PAGER=x git log ¦ env touch x ¦ timeout 5 touch x ¦ command touch x ¦ bash -c 'touch x' ¦ bash -c "$X" ¦ bash x
    sudo ls ¦ exec ls ¦ source x ¦ . ./x ¦ source bin/activate ¦ $X ¦ "$X" a ¦ ./ls ¦ rg --pre sh a ¦ fd -x rm ¦ fd -Hx rm
    printf -v x a ¦ printf '%d' 'a[$(touch x)]' ¦ test -v 'a[x]' ¦ [ 'a[x]' -eq 1 ] ¦ let x=1 ¦ read x ¦ x=1; ls ¦ ls <> x
    ls > $X ¦ exit 'a[x]' ¦ time -o x ls ¦ env -S 'touch x' ¦ env $X ls ¦ hostname x ¦ xxd -r a b ¦ file -C ¦ python -c 1
    npx --version x ¦ ls \¶ > x
"""


@pytest.mark.parametrize("text", each(WRITES))
def test_effect_of_text_that_may_write_is_never_reads(text):
    assert effect_of(text, NAMES) == "other"


READS = [row.values[0] for row in rows() if row.values[1] == "reads"]
CHECKS = [row.values[0] for row in rows() if row.values[1] == "checks"]
JOINS = st.sampled_from([";", "\n", " && ", " || ", " | ", " & ", " |& ", "; ! ", "; time ", "; if ", "; { "])
UNKNOWN = st.from_regex(r"zz[a-z0-9_-]{1,8}", fullmatch=True)


@settings(max_examples=50)
@given(st.sampled_from(READS + CHECKS), st.sampled_from(READS + CHECKS), JOINS, UNKNOWN)
@example('grep "pip install" README.md', "ls", " & ", "zz0")
def test_effect_of_unknown_command_anywhere_ends_results(left, right, join, unknown):
    """As `other`, or as `package` where the words of a package manager stand anywhere in the text; both begin an epoch."""
    for text in (f"{left}{join}{unknown} x", f"{unknown} x{join}{right}", f"{left}\n{unknown}\n{right}"):
        assert effect_of(text, NAMES) in UNKNOWN_EFFECTS


@settings(max_examples=50)
@given(
    st.sampled_from(READS + CHECKS), st.sampled_from([" > f", " >> f", " 2> f", " &> f", " >| f", " >& f", " &", " <> f", " > $f", " 1>f"])
)
def test_effect_of_redirection_to_a_file_or_background_is_neither(text, tail):
    assume("\n" not in text and "#" not in text)
    assert effect_of(text + tail, NAMES) in UNKNOWN_EFFECTS


@settings(max_examples=50)
@given(st.sampled_from(READS + CHECKS), st.sampled_from(["`zz`", "$(zz)", "<(zz)", '"$(zz)"', "${x:=zz}", "$((zz))"]))
def test_effect_of_substitution_as_one_more_word_is_neither(text, hidden):
    assume(not text.endswith(("fi", "done", "'", ")")) and "\n" not in text and "#" not in text)
    assert effect_of(f"{text} {hidden}", NAMES) in ("other", "package")


@settings(max_examples=50)
@given(st.sampled_from(READS), st.integers(0, 200), st.text("`$(){};&|<>\n\\'\" zr-", min_size=1, max_size=4))
def test_effect_of_reads_with_something_inserted_names_only_known_commands(text, at, inserted):
    """Whatever is inserted: when the answer is still "reads", every part of the text is a reader."""
    changed = text[: at % (len(text) + 1)] + inserted + text[at % (len(text) + 1) :]
    if effect_of(changed, NAMES) == "reads":
        assert {part.effect for part in parts_of(changed, NAMES)} <= {"reads"}
        assert all(part.name in KNOWN_READERS for part in parts_of(changed, NAMES))


KNOWN_READERS = {"", "git", "ls", "cat", "head", "grep", "find", "wc", "sed", "awk", "sort", "uniq", "[", "diff", "echo", "pytest"}


@pytest.mark.parametrize("text", CHECKS)
def test_effect_of_check_that_is_not_intercepted_is_never_checks(text):
    assert effect_of(text, ()) != "checks"


def test_effect_of_names_decides_and_added_names_count():
    assert effect_of("verify-all -q | tail", NAMES) == "other"
    assert effect_of("verify-all -q | tail", NAMES | {"verify-all"}) == "checks"
    assert effect_of("python -m pytest", NAMES - {"pytest"}) == "other"
    assert effect_of("python -m unittest", frozenset()) == "checks"


def test_effect_of_very_long_or_deep_text_is_other_and_ends():
    deep = "ls"
    for _ in range(8):
        deep = f"bash -c {shlex.quote(deep)}"
    assert effect_of(deep, NAMES) == "other"
    assert effect_of("ls;" * 100_000, NAMES) == "other"
    assert effect_of("npm " + "-a " * 20_000, NAMES) == "other"


@settings(max_examples=50)
@given(st.text())
def test_effect_of_any_text_never_raises(text):
    effect_of(text, NAMES)


# --- display ----------------------------------------------------------------------------------------------------------------


SECRETS = r"""
    t --token S3CRET ¦ t --token=S3CRET ¦ t -password S3CRET ¦ t --api-key S3CRET ¦ t --db-password=S3CRET ¦ t TOKEN=S3CRET
    t GITHUB_TOKEN=S3CRET ¦ t -DdbPassword=S3CRET ¦ t -e AWS_SECRET_ACCESS_KEY=S3CRET ¦ t https://me:S3CRET@host/x
    t MY_API_KEY_2=S3CRET ¦ t -H 'Authorization: Bearer S3CRET' ¦ t 'export TOKEN=S3CRET; pytest' ¦ t 'curl --token S3CRET'
    t ghp_S3CRETaaaaaaaa ¦ t sk-S3CRETaaaa12 ¦ t postgres://S3CRET@h/db ¦ t eyJhbGciOi.S3CRETx ¦ t aS3CRET1b2c3d4e5f6g7h8i9
    t --secret=a=S3CRET
"""


@pytest.mark.parametrize("command", each(SECRETS))
def test_redact_value_that_looks_secret_is_hidden(command):
    shown = " ".join(redact(shlex.split(command)))
    assert "S3CRET" not in shown
    assert REDACTED in shown
    assert "S3CRET" not in display([word.encode() for word in shlex.split(command)])


ORDINARY = r"""
    pytest -k test_token_is_refreshed tests/auth/test_tokens.py::TestTokenizer
    go test -run TestAuthor_WithTwoFactorAuthentication ./auth/... ¦ pytest -p no:cacheprovider --author x
    npm run lint -- --max-warnings=0 ¦ ruff check src/token.py ¦ git log --author=x keyword=1
"""


@pytest.mark.parametrize("command", each(ORDINARY))
def test_redact_ordinary_command_is_left_alone(command):
    assert redact(shlex.split(command)) == tuple(shlex.split(command))
    assert display(shlex.split(command)) == command


def test_redact_undecodable_and_unprintable_characters_are_escaped():
    assert redact([b"\xff\x1b[31m", "a\u202eb\n".encode()]) == ("\\xff\\x1b[31m", "a\\u202eb\\n")


@settings(max_examples=50)
@given(st.lists(st.binary(max_size=60), max_size=40))
def test_display_any_argv_is_one_bounded_printable_line(argv):
    line = display(argv)
    assert len(line) <= LINE_CHARS
    assert line.isprintable()
    assert sum(map(len, redact(argv))) <= TOTAL_CHARS + 100


def test_redact_huge_arguments_are_bounded():
    assert redact(["a" * 200_000, *["b" * 150] * 100])[0] == "[200000 characters]"
    assert redact(["b" * 150] * 100)[-1] == "…(74 more)"


PATHS = frozenset({".venv/bin/pytest", "/r/.venv/bin/pytest", ".venv/bin/python", "./gradlew"})


@pytest.mark.parametrize(
    ("text", "effect"),
    [
        (".venv/bin/pytest -q 2>&1 | tail -3", "checks"),
        ("cd sub && /r/.venv/bin/pytest -q", "checks"),
        ("./gradlew test", "checks"),
        (".venv/bin/python -m pytest -q", "checks"),
        ("python .venv/bin/pytest -q", "checks"),
        ("python -X dev -W error /usr/bin/pytest -q", "checks"),
        ("venv/bin/pytest -q", "other"),
        ("./gradlew publish", "other"),
        ("timeout 60 .venv/bin/pytest -q", "other"),
        ("command ./gradlew test", "other"),
        ("bash -c './gradlew test'", "other"),
        ("python src/pytest -q", "other"),
        ("python pytest", "other"),
        ("python .venv/bin/pytest --pdb", "other"),
        ("python -c 'x' .venv/bin/pytest", "other"),
    ],
)
def test_a_tool_called_by_a_path_that_is_met_is_a_check_and_by_no_other(text, effect):
    """Below another program no function is seen: nobody records such a call."""
    assert effect_of(text, NAMES | PATHS) == effect


@pytest.mark.parametrize(
    ("argv", "path"),
    [
        (["python", ".venv/bin/pytest", "-q"], ".venv/bin/pytest"),
        (["python", "-X", "dev", "/usr/bin/mypy"], "/usr/bin/mypy"),
        (["python", "-m", "pytest", "bin/pytest"], ""),
        (["python", "run.py", "bin/pytest"], ""),
        (["python", "-c", "bin/pytest"], ""),
        (["python"], ""),
        (["pytest", "bin/pytest"], ""),
    ],
)
def test_the_file_of_a_tool_that_python_runs(argv, path):
    assert python_file(argv[0], argv) == path
