"""What makes pytest and vitest go by what an earlier run left; decision 0015."""

from __future__ import annotations

import time

import pytest

from stretto.carryover import by_order, is_vitest_config, pytest_settings, recipe_steers, steers, steers_by_env, steers_pytest
from stretto.commands import check_of

QUIET = """
    import {defineConfig} from 'vitest/config'; export default defineConfig({test: {include: ['a/*.ts'], cache: false, watch: false}})
    import {defineConfig} from "vite"; import vue from '@vitejs/plugin-vue'; import paths from 'vite-tsconfig-paths'
    import viteConfig from './vite.config'; export default mergeConfig(viteConfig, {test: {environment: 'jsdom'}})
    export default {test: {isolate: true, fileParallelism: true, maxWorkers: 4, minWorkers: 2}}
    {"test": {"maxWorkers": "50%"}}
    export default {resolve: {conditions: ['browser']}, test: {poolOptions: {threads: {singleThread: false}}}}
    export default {test: {sequence: {shuffle: true, seed: 1}, setupFiles: ['./setup.ts'], server: {deps: {inline: ['x']}}}}
"""
ORDERED = """
    export default {test: {isolate: false}}
    export default {test: {isolate}}
    export default {test: {fileParallelism: !process.env.CI}}
    export default {test: {poolOptions: {threads: {singleThread: true}}}}
    export default {test: {maxWorkers: 1}}
    export default {test: {maxWorkers: cores}}
    export default {test: {bail: 1}}
    export default {test: {sequence: {sequencer: Mine}}}
    export default {test: {browser: {enabled: true}}}
    import shared from '../shared/tests.ts'; export default shared
    import base from '@acme/vitest-config'; export default base
    import base from 'acme-test-preset/all'; export default base
"""


@pytest.mark.parametrize("text", [line.strip() for line in QUIET.strip().splitlines()])
def test_settings_of_vitest_under_which_no_outcome_hangs_on_the_order_of_files_leave_its_results_alone(text):
    assert steers("vitest.config.ts", text.encode()) == frozenset()


@pytest.mark.parametrize("text", [line.strip() for line in ORDERED.strip().splitlines()])
def test_settings_of_vitest_under_which_the_order_of_files_may_decide_make_its_results_an_input(text):
    assert steers("vitest.config.ts", text.encode()) == {"vitest"}


@pytest.mark.parametrize(
    ("name", "text", "tools"),
    [
        ("package.json", '{"scripts": {"test": "vitest run --no-isolate"}}', {"vitest"}),
        ("package.json", '{"scripts": {"test": "vitest run --config odd.mts"}}', {"vitest"}),
        ("package.json", '{"scripts": {"test": "vitest run --config a/vitest.e2e.config.mts"}}', set()),
        ("package.json", '{"scripts": {"test": "vitest run", "build": "tsup --config tsup.ts"}}', set()),
        ("package.json", '{"scripts": {"lint": "eslint --config eslint.config.js"}}', set()),
        ("Makefile", "test:\n\tpytest --ff\n\tvitest run --bail=1\n", {"pytest", "vitest"}),
        ("pyproject.toml", "addopts = '-q --lf'", {"pytest"}),
        ("vite.config.ts", "--lf", set()),
    ],
)
def test_a_file_of_the_project_says_which_tools_go_by_their_cache(name, text, tools):
    assert steers(name, text.encode()) == tools


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("vite.config.ts", True), ("vitest.unit.config.mjs", True), ("vitest.workspace.json", True), ("vite.md", False), ("a.vite.ts", False)],
)
def test_names_in_which_settings_of_vitest_stand(name, is_one):
    assert is_vitest_config(name) is is_one


@pytest.mark.parametrize(
    ("line", "ordered"),
    [
        *(("vitest run --no-isolate", True), ("vitest run --isolate=false", True), ("vitest run --bail 1", True)),
        *(("vitest run --no-file-parallelism", True), ("vitest run --fileParallelism=false", True), ("vitest --run --maxWorkers=1", True)),
        *(("vitest run --poolOptions.threads.singleThread", True), ("vitest run -c other.ts", True), ("npx vitest run --bail=3", True)),
        *(("npm test -- --bail", True), ("npm test -- --no-isolate", True), ("pnpm exec vitest run --no-isolate", True)),
        *(("vitest run", False), ("vitest run src/bail.test.ts", False), ("vitest run --config vitest.unit.config.ts", False)),
        *(("vitest run --maxWorkers=4", False), ("npm test -- --maxWorkers=50%", False), ("vitest run --reporter=dot", False)),
        *(("npm test -- --config jest.e2e.js", False), ("npx vitest run --max-workers 2", False)),
    ],
)
def test_words_by_which_the_order_of_files_may_decide_steer_the_call(line, ordered):
    name, *args = line.split()
    assert by_order(args) is ordered
    check = check_of(name, [name, *args])
    assert check is not None
    assert (check.steered, check.ahead) == (ordered, not ordered)


@pytest.mark.parametrize(
    ("entry", "does"),
    [
        ("PYTEST_ADDOPTS=--lf", True),
        ("PYTEST_ADDOPTS=-q", False),
        ("VITEST_MAX_WORKERS=1", True),
        ("VITEST=1", False),
        ("A=--lf", False),
        ("PYTEST_ADDOPTS=-q --testmon", True),
    ],
)
def test_environment_that_steers(entry, does):
    assert steers_by_env([b"B=1", entry.encode()]) is does


@pytest.mark.parametrize(
    ("name", "text", "options"),
    [
        ("pytest.ini", "[pytest]\naddopts = -q --lf\n", "-q --lf"),
        ("pytest.ini", "", ""),
        (".pytest.ini", "[other]\nx = 1\n", ""),
        ("pyproject.toml", '[tool.pytest.ini_options]\naddopts = "--testmon -p no:randomly"\n', "--testmon -p no:randomly"),
        ("pyproject.toml", '[tool.pytest.ini_options]\naddopts = ["--nf", "-q"]\n', "--nf -q"),
        ("pyproject.toml", '[tool.pytest]\naddopts = ["--sw"]\n', "--sw"),
        ("pyproject.toml", '[tool.poe.tasks]\nagain = "pytest --lf"\n', None),
        ("pyproject.toml", "[tool.pytest.ini_options]\ntestpaths = ['a']\n", ""),
        ("pytest.toml", '[pytest]\naddopts = ["--ff"]\n', "--ff"),
        ("tox.ini", "[pytest]\naddopts =\n    -q\n    --stepwise\n", "\n-q\n--stepwise"),
        ("tox.ini", "[testenv]\ncommands = pytest --lf\n", None),
        ("setup.cfg", "[tool:pytest]\naddopts = --picked\n", "--picked"),
        ("setup.cfg", "[pytest]\naddopts = --lf\n", None),
        ("pytest.ini", "no section --lf\n", "no section --lf\n"),
    ],
)
def test_settings_of_pytest_are_read_where_it_reads_them(name, text, options):
    assert pytest_settings(name, text.encode()) == options


@pytest.mark.parametrize(
    "option", ["--lf", "--ff", "--nf", "--sw", "--testmon", "--testmon-noselect", "--picked", "--last-failed", "--stepwise"]
)
def test_options_by_which_pytest_goes_by_an_earlier_run(option):
    assert steers_pytest(f"-q {option} -x")
    assert not steers_pytest(f"-q x{option} --no-testmon --lfx")


MAKEFILE = """
FLAGS = -q
AGAIN := --lf
test: lint
\tpytest $(FLAGS)
again: ; pytest --ff
quick:
\tpytest ${AGAIN}
all: test quick
sub:
\t$(MAKE) quick
lint:
\truff check .
"""


@pytest.mark.parametrize(
    ("name", "line", "text", "does"),
    [
        ("make", "test", MAKEFILE, False),
        ("make", "lint", MAKEFILE, False),
        ("make", "", MAKEFILE, False),
        ("make", "again", MAKEFILE, True),
        ("make", "-j2 quick", MAKEFILE, True),
        ("make", "all", MAKEFILE, True),
        ("make", "sub", MAKEFILE, True),
        ("just", "test", "test *args='--lf':\n    pytest {{args}}\n", True),
        ("just", "test", "test:\n    pytest\nagain:\n    pytest --lf\n", False),
        ("npm", "test", '{"scripts": {"test": "pytest --testmon", "lint": "x"}}', True),
        ("npm", "run lint", '{"scripts": {"test": "pytest --testmon", "lint": "x"}}', False),
        ("npm", "test", '{"scripts": {"pretest": "jest --onlyChanged", "test": "x"}}', True),
        ("npm", "test", "{ --lf", True),
        ("npm", "test", "[]", False),
        ("tox", "-e py311", "[testenv]\ncommands = pytest --lf\n", True),
        ("nox", "", "session.run('pytest', '--picked')", True),
        ("poe", "again", '[tool.poe.tasks]\nagain = "pytest --lf"\ntest = "pytest"\n', True),
        ("poe", "test", '[tool.poe.tasks]\nagain = "pytest --lf"\ntest = "pytest"\n', False),
        ("pdm", "run again", '[tool.pdm.scripts.again]\ncmd = "pytest --lf"\n', True),
        ("hatch", "run dev:again", "[tool.hatch.envs.dev.scripts]\nagain = [\n  'pytest --nf',\n]\n", True),
        ("poe", "test", '[tool.pytest.ini_options]\naddopts = "--lf"\n', False),
        ("rspec", "", "--color\n--only-failures\n", True),
        ("phpunit", "", '<phpunit executionOrder="depends,defects">', True),
        ("phpunit", "", '<phpunit executionOrder="random">', False),
    ],
)
def test_a_recipe_or_script_steers_the_calls_that_run_it(name, line, text, does):
    assert recipe_steers(name, line.split(), text) is does


@pytest.mark.parametrize("part", ["a b ", "a:a ", "$(a) ", "--lf ", "\ta\n", "a: b\n", "A = $(A)\n", '{"', "[["])
def test_a_hostile_file_is_read_in_no_time_to_speak_of(part):
    text = part * (200_000 // len(part)) + "\nall: all\n\tpytest --lf\n"
    began = time.process_time()
    for name in ("make", "just", "npm", "tox"):
        recipe_steers(name, ["all"], text)
    for name in ("pytest.ini", "pyproject.toml", "tox.ini"):
        pytest_settings(name, text.encode())
    assert time.process_time() - began < 10.0
