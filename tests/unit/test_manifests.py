"""What a manifest names outside its folder, in the form of each tool."""

from __future__ import annotations

import pytest

from stretto.manifests import MOST_PATHS, is_manifest, is_settings, named_by, paths, paths_of_settings, words

NAMED = [
    ("Cargo.toml", 'lib1 = { path = "../lib" }', ("../lib",)),
    ("pyproject.toml", '[tool.pytest.ini_options]\npythonpath = ["../lib", "src"]', ("../lib",)),
    ("pyproject.toml", 'lib = { path = "../lib", editable = true }', ("../lib",)),
    ("pyproject.toml", 'dependencies = ["lib @ file:///home/u/lib"]', ("/home/u/lib",)),
    ("pyproject.toml", 'lib = {path = "/home/u/lib", develop = true}', ("/home/u/lib",)),
    ("pytest.ini", "[pytest]\npythonpath = ../a ../b\n", ("../a", "../b")),
    ("setup.cfg", "[mypy]\nmypy_path=$MYPY_CONFIG_FILE_DIR/../stubs:../more\n", ("../stubs", "../more")),
    ("requirements.txt", "-e ../lib\n-e../near\n-r ../base.txt\nfile:../far\n", ("../lib", "../near", "../base.txt", "../far")),
    (
        "package.json",
        '{"a": "file:../a", "b": "link:../b", "c": "portal:../c", "workspaces": ["../w/*"]}',
        ("../a", "../b", "../c", "../w"),
    ),
    ("tsconfig.json", '{"extends": "../base.json", "paths": {"@x/*": ["../x/src/*"]}}', ("../base.json", "../x/src")),
    ("go.mod", "replace example.com/x => ../x", ("../x",)),
    ("settings.gradle.kts", 'includeBuild("../x")\nproject(":y").projectDir = file("$rootDir/../y")', ("../x", "../y")),
    ("pom.xml", "<module>../x</module><relativePath>../parent/pom.xml</relativePath>", ("../x", "../parent/pom.xml")),
    ("CMakeLists.txt", "add_subdirectory(../x)\nadd_subdirectory(${CMAKE_CURRENT_SOURCE_DIR}/../y y)", ("../x", "../y")),
    ("app.csproj", '<ProjectReference Include="..\\lib\\lib.csproj" />', ("../lib/lib.csproj",)),
    ("tox.ini", "deps = {toxinidir}/../lib", ("../lib",)),
    ("conftest.py", 'sys.path.insert(0, "../lib")\nup = ".."', ("../lib",)),
    ("Makefile", "test:\n\tcd .. && $(MAKE) -C ../lib", ("../lib",)),
    ("deep.gemspec", "", ()),
]


@pytest.mark.parametrize(("name", "text", "named"), NAMED)
def test_what_a_manifest_names_outside_is_found(name, text, named):
    assert is_manifest(name)
    assert paths(name, text.encode()) == named


@pytest.mark.parametrize(
    "text",
    [
        'url = "https://example.invalid/../x/y"',
        'version = ">=1..2"',
        "range = main...topic",
        'path = "src/deep"',
        'python = "/usr/bin/python3"',
        'cut = "../${NAME}"',
        'nothing = "/"',
        'none = "x\0/../y"',
    ],
)
def test_what_is_no_path_out_of_the_folder_is_not_taken_for_one(text):
    assert paths("pyproject.toml", text.encode()) == ()


@pytest.mark.parametrize(
    "piece", ["../", "..", "-a", "file:", "/", "$/", "{../", "../a ", "\udcff../".encode("utf-8", "surrogateescape").decode("latin-1")]
)
def test_any_text_is_read_in_time_that_grows_with_its_length(piece):
    """Nothing here looks twice at one character; what there are too many of ends the reading."""
    assert len(paths("pyproject.toml", (piece * (1 << 20))[: 1 << 20].encode())) <= MOST_PATHS + 1


def test_a_manifest_with_more_paths_than_are_read_says_so_by_their_number():
    assert len(paths("Cargo.toml", b" ".join(b"../%d" % number for number in range(MOST_PATHS * 2)))) == MOST_PATHS + 1


@pytest.mark.parametrize("name", ["a.py", "README.md", "data.json", "main.ts", "notes.txt", "", ".", "pyproject.toml.bak"])
def test_other_files_are_no_manifests(name):
    assert not is_manifest(name)


@pytest.mark.parametrize(
    "name",
    """ruff.toml .ruff.toml .eslintrc.json .eslintrc.yml .eslintrc .eslintrc.cjs pyrightconfig.json biome.json .mypy.ini .stylelintrc
    .golangci.yml .rubocop.yml phpunit.xml phpunit.xml.dist jest.config.json .mocharc.json vitest.workspace.json .flake8 .pylintrc
    .coveragerc .rspec phpstan.neon nx.json turbo.json .env .env.test common.mk base.json eslint.base.js test.sh dev.txt ty.toml
    build.sbt gradle.properties config.toml""".split(),  # noqa: SIM905  (forty lines otherwise)
)
def test_configuration_of_any_tool_may_name_what_it_extends(name):
    assert is_settings(name)


@pytest.mark.parametrize(
    "name",
    ["a.py", "README.md", "main.ts", "types.d.ts", "a.png", ".gitignore", ".coverage", "", ".", "pyproject.toml", "go.sum", "compose.yaml"],
)
def test_code_prose_data_and_what_is_a_manifest_are_no_such_configuration(name):
    assert not is_settings(name)


def test_configuration_leads_out_by_relative_paths_only():
    text = b'extend = "../shared/ruff.toml"\ncache-dir = "/var/cache/ruff"\nsrc = [".."]\n'
    assert paths_of_settings("ruff.toml", text) == ("../shared/ruff.toml",)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('{"extends": "./base.json"}', ["base.json"]),
        ("import rules from './rules'", ["rules.js", "rules.mk"]),
        ("from helper import x", ["helper.py"]),
        ("include rules.mk", ["rules.mk"]),
        ("pythonpath = lib/a", ["lib"]),
        ("nothing of this", []),
    ],
)
def test_a_file_outside_names_others_beside_it_with_their_ending_or_without(text, named):
    assert named_by(words("x.toml", text.encode()), ["base.json", "rules.js", "helper.py", "rules.mk", "lib", ".git", ".hidden"]) == named


def test_prose_names_nothing():
    assert words("README.md", b"see lib") == words("LICENSE", b"lib") == frozenset()


def test_configuration_leads_to_nothing_that_is_written_rather_than_read():
    text = b"file: ../logs\nhandler: ../var/app.log\noutDir: ../dist\n"
    text += b"db: ../test.sqlite3\nextends: ../login.json ../builder ../shared/out.toml\n"
    assert paths_of_settings("logging.yml", text) == ("../login.json", "../builder", "../shared/out.toml")
    assert named_by(words("x.toml", b"app.log dist rules"), ["app.log", "dist", "rules.js"]) == ["rules.js"]
