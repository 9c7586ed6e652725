"""The table of tools: which calls check, and which may run ahead."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from stretto.commands import MODULES, NAMES, PYTHONS, Check, check_of, effect_of, python_file, python_module

# flags: a = may run ahead, s = steered by a cache, f = filtered
CHECKS = """
    test a      pytest
    test a      pytest -q -x --tb=short tests/unit
    test        pytest tests/integration
    test f      pytest -m integration
    test af     pytest -m 'not integration'
    test a      pytest --ignore=tests/e2e --ignore tests/integration tests
    test        pytest tests/e2e/test_a.py
    test        jest --config jest.integration.config.js
    test        go test -tags=integration ./...
    test        npm run test:integration
    test        make functional-test
    lint a      ruff check tests/integration
    test af     pytest tests/test_a.py::test_b
    test af     pytest -vk 'a and b'
    test f      pytest -k a --cov=src
    test        pytest --cov=src --cov-report=html
    test        pytest --junitxml=out.xml
    test sf     pytest --lf
    test s      pytest --ff -x
    test a      pytest -rfE -p no:cacheprovider -n 4
    test a      py.test -q
    test a      python -m pytest -q
    test a      python3 -X dev -W error -m pytest
    test a      python -m unittest discover -s tests
    types a     python -m mypy src
    test        python -m coverage run -m pytest
    test        coverage run --source=src -m pytest -q
    lint a      ruff check .
    lint a      ruff check --select E --diff src
    lint a      ruff --quiet check
    lint a      ruff format --check .
    types a     mypy --strict src
    types       mypy --html-report out src
    types a     pyright --outputjson
    types a     basedpyright
    lint a      flake8 src
    lint a      pylint src --disable=all
    lint a      black --check --diff .
    lint a      isort -c .
    test        tox -e py311,lint
    test        nox -s tests
    test a      jest --ci --watchAll=false
    test af     jest -t 'a b'
    test sf     jest --onlyChanged
    test a      vitest run src
    test a      vitest --run
    test a      mocha --grep-not x
    lint a      eslint . --max-warnings 0
    lint        eslint . --cache
    types a     tsc --noEmit -p tsconfig.json
    types       tsc -b
    lint a      biome ci .
    lint a      prettier --check 'src/**/*.ts'
    lint a      prettier -l .
    test a      npm test
    test a      npm --prefix web run test:unit -- --run
    lint a      npm run lint
    types a     npm run type-check
    types a     npm run typeCheck
    build       npm run build
    lint        npm run format:check
    lint a      pnpm -r lint
    types a     pnpm --filter web typecheck
    test a      pnpm exec vitest run
    test a      yarn workspace web test
    types a     yarn tsc --noEmit
    test a      bun test
    test a      bun run test
    types a     npx tsc --noEmit
    test        npx --yes jest
    lint        turbo run lint --filter=web
    test        pnpm dlx jest
    test        yarn dlx vitest run
    test a      yarn workspaces foreach -A run test
    test        nx test web
    test        nx run web:test
    lint        nx run-many -t lint,typecheck -p a b
    test        nx run-many --targets=test,lint
    test        nx affected -t test build
    test        nx affected:test --base=main
    test        npx nx test web
    test        lerna run test --scope a
    test a      yarn run test
    test a      pnpm t
    types a     bunx tsc --noEmit
    test a      deno test
    lint a      deno lint
    types a     deno check main.ts
    lint a      go tool staticcheck ./...
    test        ginkgo -r
    test a      go test ./...
    test a      go test -race -count=1 ./...
    test af     go test -run TestA ./pkg
    test af     go test --run=TestA -v ./pkg
    test        go test -c -o /dev/null ./pkg
    test        go test -coverprofile=c.out ./...
    lint a      go vet ./...
    build       go build ./...
    build       go build -o bin/x ./cmd/x
    lint        golangci-lint run ./...
    lint a      golangci-lint run --allow-parallel-runners
    lint a      gofmt -l .
    lint a      staticcheck ./...
    test        cargo test --workspace -p core
    test f      cargo test parses -- --nocapture
    test        cargo +nightly nextest run
    types       cargo check
    lint        cargo clippy -- -D warnings
    lint a      cargo fmt --check
    lint a      cargo fmt --all -- --check
    test        cargo t
    build       cargo build --release
    test        gradle clean test
    test f      gradle :app:test --tests com.a.B
    build       gradle assembleDebug
    test        mvn -q -pl core test
    test        mvnw verify
    test        gradlew :app:testDebugUnitTest
    test f      mvn verify -Dtest=A#b
    lint a      rubocop lib
    test a      rspec
    test af     rspec spec/a_spec.rb:12
    test a      bundle exec rspec
    test        rake test
    test a      bundle exec rspec spec/a_spec.rb
    test        bundle exec rake spec
    test        rails test
    test af     phpunit --filter testA
    lint a      phpstan analyse src
    lint a      psalm --no-cache
    lint a      pint --test
    lint a      composer run lint
    test        dotnet test --nologo
    lint        dotnet format --verify-no-changes
    build       dotnet build
    lint a      shellcheck a.sh
    test        swift test
    build       swift build
    test        mix test
    lint        mix credo
    lint        mix format --check-formatted
    test        ctest --test-dir build --output-on-failure
    test f      ctest -R unit
    test sf     ctest --rerun-failed
    test        meson test -C build
    build       meson compile -C build
    build       ninja
    build       ninja -C build
    test        ninja -C build -j 4 test
    build       cmake --build build -j8
    build       cmake --build build --target all
    test        cmake --build build --target test --config Debug
    test        bazel test //...
    test        dune runtest
    test        stack test
    build       cabal build
    test        zig build test
    test        zig test src/a.zig
    test a      dart test
    types a     dart analyze
    types       flutter analyze
    test a      prove -l t
    lint a      shfmt -d .
    lint a      typos
    lint a      terraform fmt -check
    lint a      buf lint
    test        moon run web:test
    test a      mage test
    test a      make test
    test a      make -j4 -C sub lint test V=1
    build       make build
    lint        make fmt-check
    test a      just test-unit
    lint a      mise run lint
    test a      mise r test:ci
    test af     mise run test -- -run TestA
    test a      mise run lint ::: test
    lint a      mise exec -- ruff check .
    test a      task test
    test a      uv run pytest -q
    test a      uv run --extra dev python -m pytest
    test a      uv run -m pytest
    test a      poetry run pytest
    lint a      pdm run lint
    test        hatch test
    test a      hatch run dev:pytest -q
    types       uvx mypy src
    lint        uv tool run ruff check .
    test a      pdm run test
    test a      rye test
    test a      mise test
    test a      mise x -- pytest
    test        python -m tox -e py311
    test        nox
    test        tox
    types a     pipenv run mypy .
"""

# what writes, waits, installs, runs end to end, or says nothing about checking
NOT_CHECKS = """
    pytest --pdb | pytest --trace | pytest --snapshot-update | pytest --collect-only | pytest --inline-snapshot=fix | pytest --help
    ruff check --fix . | ruff check --fix-only | ruff format . | ruff check --watch | ruff rule E501 | ruff check --add-noqa
    mypy --install-types . | black . | isort src | python -m black . | python -m http.server | python -m pip install x | python a.py
    coverage report | coverage run manage.py migrate | tox -e fix | nox -s format | pyright --watch | pyright --createstub a
    jest --watch | jest -u | jest --updateSnapshot | vitest | vitest watch | vitest run -u | vitest bench | ava -u | mocha --watch
    eslint --fix . | tsc -w | tsc --build --clean | biome check --write | biome check --apply | biome format --write . | prettier --write .
    prettier . | npm run dev | npm start | npm run lint:fix | npm run test:watch | npm run test:e2e | npm run serve | npm run format
    npm run lint -- --fix | npm test -- -u | npm install | npm ci | npx playwright test | npx cypress run | npx create-app
    pnpm dlx create-app | yarn dlx cypress run
    npm run test:update | npm run db:migrate | yarn add jest | bun install | bun test --watch | npx -p x jest | yarn | npm
    go test -update ./... | go test -fuzz=F | go test -bench=. | go run . | go generate ./... | go mod tidy | gofmt -w . | gofmt a.go
    golangci-lint run --fix | golangci-lint fmt | cargo fmt | cargo clippy --fix | cargo run | cargo publish | cargo fix
    gradle installDist | gradle publish | gradle spotlessApply | gradle connectedCheck | gradle run | gradle clean | mvn install
    mvn deploy
    rubocop -a | rubocop -A | rubocop --autocorrect | rspec --bisect | bundle install | rake db:migrate | rake | bundle exec rubocop -A
    pint | psalm --alter | phpstan analyse --generate-baseline | php-cs-fixer fix | dotnet format | dotnet run | dotnet publish
    make | make fmt | make fix test | make test fmt | make deploy | make test ARGS=--fix | just fmt | just --list | mise run fmt
    mise install
    mise run lint ::: fmt | mise run lint --fix | task docker-test | uv sync | uv run a.py | uv pip install x | poetry install | hatch fmt
    nx serve web | nx e2e web | nx run web:serve | nx run-many -t build,serve | nx test web --watch | nx affected -t e2e | nx format:write
    nx migrate latest | nx graph | nx | lerna publish | lerna version | lerna run dev | lerna exec -- rm -rf dist | lerna run e2e | lerna
    turbo run dev | turbo watch test | turbo prune web | deno fmt | deno run a.ts | deno test --watch | deno lint --fix | deno task dev
    meson setup build | meson install -C build | meson test --gdb | ninja install | ninja -C build clean | ninja -t clean | ninja -n
    cmake --install build | cmake --build build --target install | cmake --build build -t clean test | cmake -S . -B build | cmake
    cmake --build build --clean-first | ctest -N | bazel run //a | bazel clean | swift run | swift package update | mix ecto.migrate
    mix test.watch | mix format | mix deps.get | rails server | rails db:migrate | rake db:seed | dart format .
    dart run | dart fix --apply
    flutter run | flutter test --update-goldens | zig run a.zig | zig build run | shfmt -w . | typos -w | terraform fmt | terraform apply
    gradle test --refresh-dependencies | gradle build --write-locks | mvn -U test | dotnet watch test | go tool pprof a | go tool
    cargo insta accept | gulp watch | moon run :dev | hatch run fmt | pdm run format | pipenv run black . | bundle exec rake db:migrate
    uv tool install ruff | uv run --fix-only ruff format | vendor/bin/phpunit | ./gradlew test | .venv/bin/pytest | ./node_modules/.bin/jest
    make compose-test | make test-e2e | make checkout | bin/pytest | /usr/bin/pytest
"""


def rows() -> list[object]:
    found = []
    for line in CHECKS.splitlines()[1:]:
        (kind, *flags), command = line[:16].split(), line[16:].strip()
        found.append(pytest.param(command, kind, "".join(flags), id=command))
    return found


@pytest.mark.parametrize(("command", "kind", "flags"), rows())
def test_check_of_checking_form_has_kind_and_flags(command, kind, flags):
    argv = shlex.split(command)
    found = check_of(argv[0], [word.encode() for word in argv])
    assert found is not None and structs.replace(found, real="") == Check(
        kind=kind, ahead="a" in flags, steered="s" in flags, filtered="f" in flags
    )


@pytest.mark.parametrize("command", [each.strip() for line in NOT_CHECKS.strip().splitlines() for each in line.split("|")])
def test_check_of_any_other_form_is_no_check(command):
    """F45: what writes, updates expectations or waits is never taken for a check."""
    argv = shlex.split(command)
    assert check_of(argv[0], argv) is None


WRITING = (
    "--fix",
    "--write",
    "--watch",
    "--update-snapshots",
    "--snapshot-update",
    "--autocorrect-all",
    "--pdb",
    "--interactive",
    "--in-place",
)


@pytest.mark.parametrize("command", [row.values[0] for row in rows() if " -- " not in row.values[0]])
def test_check_of_with_an_option_no_check_has_is_no_check(command):
    """F45, over the whole table: one such option takes the check away."""
    words = shlex.split(command)
    if words[0] in ("make", "gmake", "task", "turbo", "rake", "mage"):
        words.append("--")  # before it an option is make's own
    assert [option for option in WRITING if check_of(words[0], [*words, option])] == []


def test_check_of_every_default_name_knows_some_form_or_is_asked_for_one():
    """A name is intercepted only because a row above shows what for."""
    shown = {shlex.split(row.values[0])[0] for row in rows()}
    unshown = NAMES - shown - PYTHONS
    siblings = {
        "gmake",
        "goimports",
        "gofumpt",
        "standardrb",
        "vue-tsc",
        "markdownlint-cli2",
        "bazelisk",
    }
    plain = {"ty", "bandit", "pydocstyle", "pycodestyle", "pyflakes", "vulture", "yamllint", "codespell", "sqlfluff", "ava", "svelte-check"}
    plain |= {"oxlint", "stylelint", "markdownlint", "gotestsum", "ktlint", "detekt", "pest", "php-cs-fixer", "phpcs"}
    plain |= {"swiftlint", "bats", "hadolint", "actionlint", "poe", "sbt", "swiftformat", "luacheck", "cppcheck", "ansible-lint", "tflint"}
    plain |= {"cspell", "knip", "gulp", "grunt", "tape", "jasmine", "uvu"}
    assert unshown == siblings | plain
    sub = {"ty": "check", "sqlfluff": "lint", "bazelisk": "build", "php-cs-fixer": "check", "poe": "test", "gmake": "test"}
    sub |= {"goimports": "-l", "gofumpt": "-d", "sbt": "test", "swiftformat": "--lint .", "gulp": "test", "grunt": "lint"}
    for name in unshown:
        assert check_of(name, [name, *sub.get(name, "").split()]) is not None, name


@pytest.mark.parametrize(
    ("text", "checks"),
    [
        ("node --test", True),
        ("node --import tsx --test 'src/**/*.test.ts'", True),
        ("node --no-warnings --experimental-vm-modules node_modules/.bin/jest --ci", True),
        ("node ../node_modules/.bin/eslint .", True),
        ("python manage.py test app", True),
        ("python -W error manage.py test --parallel", True),
        ("python web/manage.py test", True),
        ("node server.js --test", False),
        ("node --test --watch", False),
        ("node --test --test-update-snapshots", False),
        ("node -e 'x' --test", False),
        ("node --run test", False),
        ("node node_modules/.bin/eslint --fix .", False),
        ("node node_modules/.bin/webpack-dev-server", False),
        ("node bin/jest", False),
        ("python manage.py migrate", False),
        ("python manage.py test --pdb", False),
        ("python manage.py runserver", False),
    ],
)
def test_what_an_interpreter_runs_checks_by_the_words_after_it(text: str, checks: bool):
    words = shlex.split(text)
    assert (check_of(words[0], words) is not None) == checks
    assert effect_of(text, NAMES) == ("checks" if checks else "other")


def test_a_tool_that_was_taken_out_is_none_as_a_file_for_node_either():
    assert effect_of("node node_modules/.bin/eslint .", NAMES - {"eslint"}) == "other"
    assert effect_of("node --test", ()) == "checks"


def test_a_suite_of_node_runs_ahead_and_one_that_writes_a_report_does_not():
    assert check_of("node", ["node", "--test"]).ahead
    assert not check_of("node", ["node", "--test", "--test-reporter-destination=x.xml"]).ahead
    assert check_of("node", ["node", "--test", "--test-name-pattern", "a"]).filtered
    assert check_of("node", ["node", "node_modules/.bin/jest", "--onlyChanged"]).steered


def test_a_projects_file_is_looked_at_where_it_lies_as_any_argument():
    """Of a tool's file it is part of the tool; this one is a source."""
    assert python_file("python", ["python", "../other/manage.py", "test"]) == ""
    assert python_module(["python", "manage.py", "test"]) == "manage.py"


def test_check_of_module_is_read_as_the_tool_of_that_name():
    for name in MODULES.keys() & NAMES:
        for args in (["check"], ["--check"], ["run", "-m", "pytest"], []):
            assert check_of("python", ["python", "-m", name, *args]) == check_of(name, [name, *args])


@pytest.mark.parametrize(("entry", "is_check"), [("UPDATE_SNAPSHOTS=1", False), ("INSTA_UPDATE=always", False), ("INSTA_UPDATE=no", True)])
def test_check_of_environment_that_updates_expectations_is_no_check(entry, is_check):
    assert (check_of("pytest", ["pytest"], env=[b"HOME=/h", entry.encode()]) is not None) is is_check
    assert check_of("pytest", ["pytest"], env=["DISABLE_AUTOUPDATER=1"]) is not None


def test_check_of_added_name_is_a_check_unless_an_option_says_otherwise():
    assert check_of("verify-all", ["verify-all", "x"]) is None
    assert check_of("verify-all", ["verify-all", "x"], added={"verify-all"}) == Check(kind="test")
    assert check_of("my-lint", ["my-lint"], added={"my-lint"}) == Check(kind="lint")
    assert check_of("my-lint", ["my-lint", "--fix"], added={"my-lint"}) is None


def test_check_of_endless_wrappers_is_no_check_and_ends():
    assert check_of("npx", ["npx"] * 50_000 + ["jest"]) is None
    assert check_of("yarn", ["yarn", *["workspace", "a"] * 50_000, "test"]) is None


@pytest.mark.parametrize(
    ("command", "module"),
    [
        ("python -m pytest -q", "pytest"),
        ("python -uB -m pytest", "pytest"),
        ("python -mpytest", "pytest"),
        ("python a.py -m pytest", ""),
        ("python -c 'x' -m pytest", ""),
        ("python", ""),
        ("python -m", ""),
        ("python -i -m pytest", ""),
    ],
)
def test_python_module_is_found_only_where_python_would_run_it(command, module):
    assert python_module(shlex.split(command)) == module


@settings(max_examples=50)
@given(
    st.sampled_from(sorted(NAMES | PYTHONS)),
    st.lists(st.one_of(st.text(max_size=12), st.sampled_from(["run", "test", "-m", "--", ":::", "-k"]))),
)
def test_check_of_any_argv_never_raises(name, args):
    check_of(name, [name, *args])
    check_of(name, [name.encode(), *(arg.encode("utf-8", "surrogatepass") for arg in args)])


@pytest.mark.parametrize(
    ("addopts", "steered"), [("--lf", True), ("-q", False), ("  ", False), ("-p no:cacheprovider --ff", True)], ids=lambda item: str(item)
)
def test_options_pytest_takes_from_its_environment_count_like_arguments(addopts, steered):
    for name, argv in (("pytest", ["pytest", "-q"]), ("make", ["make", "test"])):
        check = check_of(name, argv, env=[f"PYTEST_ADDOPTS={addopts}"])
        assert check is not None
        assert check.steered is steered


def test_a_debugger_asked_for_through_the_environment_is_no_check():
    assert check_of("pytest", ["pytest"], env=["PYTEST_ADDOPTS=--pdb"]) is None
