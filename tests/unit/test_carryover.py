"""What makes pytest and vitest go by what an earlier run left; decision 0015."""

from __future__ import annotations

import pytest

from stretto.carryover import by_order, is_vitest_config, steers, steers_by_env
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
    [("PYTEST_ADDOPTS=--lf", True), ("PYTEST_ADDOPTS=-q", False), ("VITEST_MAX_WORKERS=1", True), ("VITEST=1", False), ("A=--lf", False)],
)
def test_environment_that_steers(entry, does):
    assert steers_by_env([b"B=1", entry.encode()]) is does
