"""Checks that run without passing a function or an entry on the PATH, and what begins a new epoch."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stretto.commands import MODULES, NAMES, Spotted, check_of, checks_in, effect_of, parts_of
from stretto.commands.shape import SCRIPTS
from stretto.model import MISS_CODES

# command | what is not met, and the code of the reason
MISSED = """
    .venv/bin/pytest -q                                 | pytest: by-path
    ./.venv/bin/pytest tests 2>&1 | tail -5             | pytest: by-path
    venv/bin/python -m pytest                           | pytest: by-path
    ./node_modules/.bin/jest --ci                       | jest: by-path
    node_modules/.bin/tsc --noEmit && npm test          | tsc: by-path
    ./gradlew test                                      | gradlew: by-path
    cd android && ./gradlew :app:lintDebug              | gradlew: by-path
    ./mvnw -q verify                                    | mvnw: by-path
    ./vendor/bin/phpunit --filter A                     | phpunit: by-path
    vendor/bin/phpstan analyse src                      | phpstan: by-path
    vendor/bin/pint --test                              | pint: by-path
    bin/rails test                                      | rails: by-path
    ./manage.py test app                                | manage.py: by-path
    /usr/bin/make check                                 | make: by-path
    timeout 60 ./gradlew test                           | gradlew: by-path
    bash -c './gradlew test'                            | gradlew: by-path
    /usr/bin/node --test                                | node: by-path
    php artisan test --parallel                         | artisan: by-path
    php vendor/bin/phpunit                              | phpunit: by-path
    php ./vendor/bin/phpstan.phar analyse               | phpstan: by-path
    node node_modules/jest/bin/jest.js                  | jest: by-path
    node node_modules/mocha/bin/mocha.js                | mocha: by-path
    ruby bin/rails test                                 | rails: by-path
    docker compose run --rm app pytest -q               | pytest: elsewhere
    docker exec web npm test                            | npm: elsewhere
    ssh box make test                                   | make: elsewhere
    sudo npm test                                       | npm: login-shell
    conda run -n a pytest                               | pytest: elsewhere
    direnv exec . go test ./...                         | go: elsewhere
"""
# a check that is met, or no check
MET = """
    python manage.py test ¦ node --test ¦ node node_modules/.bin/jest
    pytest -q ¦ python -m pytest ¦ timeout 60 pytest ¦ make test ¦ npx jest ¦ uv run pytest ¦ bash -c 'pytest -q'
    find . | xargs ruff check
    .venv/bin/black . ¦ ./gradlew publish ¦ ./gradlew test --refresh-dependencies ¦ vendor/bin/pint ¦ vendor/bin/rector ¦ ./deploy.sh
    ./node_modules/.bin/jest -u ¦ node_modules/.bin/prettier --write . ¦ python manage.py migrate ¦ php artisan migrate ¦ node server.js
    python script.py ¦ python test.py ¦ php -r 'x' ¦ docker compose up -d ¦ docker run -it ubuntu bash ¦ ssh box uptime
    sudo apt-get update
    ls bin/pytest ¦ cat .venv/bin/pytest ¦ echo ./gradlew test ¦ grep -r "./gradlew test" docs ¦ rm -rf .venv/bin ¦ ./bin/tool
    sudo rm -rf x
    mise run fmt ¦ git commit -m 'vendor/bin/phpunit passes' ¦ node_modules/.bin/vitest ¦ ./node_modules/.bin/playwright test
    conda env list
"""


def unreachable(text: str, names=NAMES) -> list[Spotted]:
    return [each for each in checks_in(text, names) if each.code]


@pytest.mark.parametrize("row", [line.strip() for line in MISSED.strip().splitlines()])
def test_unreachable_check_is_named_with_its_reason(row):
    command, _, expected = row.rpartition("|")
    name, _, code = expected.strip().partition(": ")
    (found,) = unreachable(command.strip())
    assert (found.name, found.code) == (name, code)
    assert effect_of(command.strip(), NAMES) != "checks"


@pytest.mark.parametrize("command", [each.strip() for line in MET.strip().splitlines() for each in line.split("¦")])
def test_unreachable_is_said_of_nothing_that_is_met_or_checks_nothing(command):
    assert unreachable(command) == []


def test_unreachable_check_whose_name_was_taken_out_says_so():
    for text in ("cd a && pytest -q", "python -m pytest"):
        (found,) = unreachable(text, NAMES - {"pytest"})
        assert (found.name, found.code) == ("pytest", "not-intercepted")
    assert unreachable("python -m unittest", ()) == []


def test_unreachable_finds_each_of_several():
    found = unreachable("./gradlew lint && pytest -q; .venv/bin/ruff check . || vendor/bin/phpunit")
    assert [each.name for each in found] == ["gradlew", "ruff", "phpunit"]


@settings(max_examples=100)
@given(st.text(), st.booleans())
def test_unreachable_of_any_text_never_raises_and_shows_no_argument(text, quoted):
    for each in unreachable(f"./gradlew test {shlex.quote(text) if quoted else text}"):
        assert each.name in NAMES | MODULES.keys() | SCRIPTS
        assert each.code in MISS_CODES


@settings(max_examples=100)
@given(
    st.sampled_from(sorted(NAMES)), st.lists(st.sampled_from(["test", "run", "check", "lint", "--check", "-m", "--", "all"]), max_size=4)
)
def test_a_check_is_met_by_name_and_missed_by_path_never_both_and_never_neither(name, args):
    """Whatever is a check by its name is one by its path, too, and says that nobody meets it there."""
    if check_of(name, [name, *args]) is None:
        return
    text = shlex.join([name, *args])
    assert unreachable(text) == []
    assert [(each.name, each.code) for each in unreachable(f"./bin/{text}")] == [(name, "by-path")]


# --- what changes dependencies ----------------------------------------------------------------------------------------------

PACKAGES = """
    pip install x ¦ pip3 uninstall -y x ¦ python -m pip install -e . ¦ pipx install x ¦ python -m venv .venv ¦ virtualenv .venv
    uv sync ¦ uv add x ¦ uv remove x ¦ uv lock ¦ uv pip install x ¦ uv venv ¦ uv tool install ruff ¦ uv python install 3.13 ¦ uv self update
    poetry lock ¦ poetry install ¦ poetry add x ¦ poetry update ¦ poetry env use 3.12 ¦ pdm add x ¦ pdm sync ¦ pipenv install ¦ pipenv sync
    hatch env create ¦ rye sync ¦ conda install x ¦ mamba update x ¦ pixi add x
    npm install ¦ npm i x ¦ npm ci ¦ npm link ¦ npm link ../x ¦ npm unlink x ¦ npm update ¦ npm dedupe ¦ npm audit fix ¦ npm rebuild
    pnpm add x ¦ pnpm i ¦ pnpm link ../x ¦ yarn ¦ yarn add x ¦ yarn install ¦ yarn link ../x ¦ bun install ¦ bun add x ¦ bun link
    corepack enable ¦ corepack prepare pnpm@9 ¦ corepack use pnpm@9 ¦ nvm install 22 ¦ volta install node
    cargo add x ¦ cargo remove x ¦ cargo update ¦ cargo install x ¦ cargo vendor ¦ rustup update ¦ rustup override set nightly
    rustup component add clippy ¦ rustup target add wasm32-unknown-unknown
    go get x ¦ go mod tidy ¦ go mod download ¦ go install x@latest ¦ go work sync
    composer install ¦ composer require x ¦ composer update ¦ bundle ¦ bundle install ¦ bundle add x ¦ bundle update
    gem install x ¦ gem uninstall x ¦ gem update
    dotnet add package x ¦ dotnet add a.csproj reference b.csproj ¦ dotnet restore ¦ dotnet remove package x ¦ dotnet tool install x
    gradle --refresh-dependencies ¦ gradle test --refresh-dependencies ¦ ./gradlew build --refresh-dependencies ¦ gradle deps --write-locks
    mvn -U test ¦ mvn dependency:resolve ¦ mvn dependency:purge-local-repository
    mix deps.get ¦ mix deps.update --all ¦ swift package update ¦ swift package resolve ¦ dart pub get ¦ flutter pub upgrade
    deno install ¦ deno add x ¦ deno cache a.ts ¦ pod install ¦ cabal update
    mise use node@22 ¦ mise install ¦ mise upgrade ¦ asdf install ¦ asdf global nodejs 22 ¦ pyenv local 3.12 ¦ rbenv global 3.3
    brew install x ¦ apt-get install -y x ¦ sudo dnf install x ¦ apk add x ¦ nix profile install x ¦ pre-commit install ¦ playwright install
"""
NO_PACKAGES = """
    uv run pytest ¦ poetry run pytest ¦ npx jest ¦ npm test ¦ npm run lint ¦ cargo test ¦ go test ./... ¦ bundle exec rspec ¦ dotnet test
    composer test ¦ gradle test ¦ mvn test ¦ mise run test ¦ pnpm exec jest ¦ make test ¦ ls ¦ git status
"""


@pytest.mark.parametrize("command", [each.strip() for line in PACKAGES.strip().splitlines() for each in line.split("¦")])
def test_a_run_of_a_package_manager_begins_an_epoch(command):
    """Whatever it is mixed with: earlier results end, and the reason names a package manager."""
    for text in (command, f"cd a && {command}", f"{command} 2>&1 | tail -5", f"pytest -q; {command}"):
        assert effect_of(text, NAMES) == "package", text
        assert "a package manager's run" in {part.reason for part in parts_of(text, NAMES)}


@pytest.mark.parametrize("command", [each.strip() for line in NO_PACKAGES.strip().splitlines() for each in line.split("¦")])
def test_a_check_through_a_package_manager_begins_no_epoch(command):
    assert effect_of(command, NAMES) in ("checks", "reads")
