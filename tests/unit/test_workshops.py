"""Which calls are known not to read what a development server writes; whatever is not known is taken to read it."""

from __future__ import annotations

import json

import pytest

from stretto.workshops import WORKSHOPS, is_named, part, spares

NEXT = WORKSHOPS[".next"]
HERE = (".next",)
TYPES = json.dumps({"include": ["next-env.d.ts", ".next/types/**/*.ts", ".next/dev/types/**/*.ts", "**/*.ts"]})
SCRIPTS = {
    "test": "vitest run",
    "types": "tsc --noEmit && eslint src",
    "build": "next build",
    "lint": "next lint",
    "all": "npm run test",
    "wild": "eslint src | tee log",
    "posted": "tsc --noEmit",
    "postposted": "next build",
    "env": "NODE_ENV=test vitest run",
}
CONFIGS = {"package.json": json.dumps({"dependencies": {"next": "15"}, "scripts": SCRIPTS}), "tsconfig.json": TYPES}


@pytest.mark.parametrize(
    "line",
    [
        *("pytest -q", "python3 -m pytest", "/x/bin/mypy src", "ruff check .", "python -m mypy ."),
        *("tsc --noEmit", "npx tsc --noEmit", "vitest run", "npx vitest run src", "eslint src --max-warnings 0", "eslint ./src lib/a.ts"),
        *("npm test", "npm run types", "pnpm test", "yarn types"),
    ],
)
def test_a_call_known_to_leave_the_folder_alone_spares_it(line):
    assert spares(line.split(), CONFIGS, HERE)


@pytest.mark.parametrize(
    "line",
    [
        *("next build", "npx next lint", "npm run build", "npm run lint", "make test", "jest", "npx jest", "prettier --check ."),
        *(
            "eslint",
            "eslint .",
            "eslint --max-warnings 0 src",
            "eslint src .",
            "eslint **/*.js",
            "eslint ./",
            "eslint .next",
            "eslint ../p",
        ),
        *("vitest run --coverage", "vitest run --coverage.enabled", "vitest --config x.ts", "tsc -p .next/types", "npx --yes tsc"),
        *("npm run all", "npm run wild", "npm run posted", "npm run env", "npm run missing", "npm test -- --coverage", "npm", "npm run"),
        *("python x.py", "node x.js", "turbo run test", "sh -c pytest", ""),
    ],
)
def test_a_call_that_may_look_into_the_folder_does_not_spare_it(line):
    assert not spares(line.split(), CONFIGS, HERE)


@pytest.mark.parametrize(
    ("line", "name", "text"),
    [
        ("tsc --noEmit", "tsconfig.json", '{"include": [".next/server/**/*"]}'),
        ("tsc --noEmit", "tsconfig.build.json", '{"include": [".next"]}'),
        ("vitest run", "vitest.config.ts", "test: { include: ['**/*.js'] }"),
        ("vitest run", "vite.config.mts", "coverage: { enabled: true }"),
        ("npm test", "package.json", "no json"),
        ("npm test", "package.json", '{"scripts": []}'),
        ("npm test", "package.json", "[]"),
    ],
)
def test_a_configuration_that_may_lead_into_the_folder_is_heeded(line, name, text):
    assert not spares(line.split(), {**CONFIGS, name: text}, HERE)


def test_javascript_tools_without_a_package_json_beside_them_are_not_known():
    assert not spares(["tsc"], {}, HERE)
    assert spares(["pytest"], {}, HERE)


def test_a_path_that_holds_the_folder_reaches_it():
    assert not spares(["eslint", "apps"], CONFIGS, ("apps/web/.next",))
    assert spares(["eslint", "apps/web/src"], CONFIGS, ("apps/web/.next",))


@pytest.mark.parametrize(
    ("inside", "what"),
    [
        ("BUILD_ID", "built"),
        ("server/BUILD_ID", ""),
        ("types/app/page.ts", "read"),
        ("dev/types/routes.d.ts", "read"),
        ("package.json", "read"),
        ("server/tool.py", "read"),
        ("server/pages/a.test.js", "test"),
        ("server/__tests__/a.js", "test"),
        ("server/app/page.js", ""),
        ("trace", ""),
        ("cache/webpack/x.pack.gz", ""),
        ("build-manifest.json", ""),
    ],
)
def test_parts_of_next(inside, what):
    assert part(NEXT, inside) == what


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('{"dependencies": {"next": "15"}}', True),
        ('{"devDependencies": {"next": "15"}}', True),
        ('{"dependencies": {"nextra": "1"}}', False),
        ('{"name": "next"}', False),
        ("[]", False),
        ("{", False),
        ('{"dependencies": "next"}', False),
    ],
)
def test_package_json_names_the_tool_among_its_dependencies_only(text, named):
    assert is_named(NEXT, text.encode()) is named
