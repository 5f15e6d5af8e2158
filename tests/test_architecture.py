"""The star: parts meet in run.py and the files beside it; only ``autolossgen`` is installed."""

import ast
import configparser
import graphlib
import importlib.metadata
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("alg", "controller", "data", "models", "report")
JOINING = ("run", "phases", "finalists", "checks", "splits", "transfer")
OURS = {*PARTS, *JOINING, "configs", "tests", "benchmarks", "examples", "autolossgen"}
SHIPPED = sorted(path for part in PARTS for path in (ROOT / part).rglob("*.py"))
FOLDERS = (*PARTS, "configs", "tests", "benchmarks", "examples")
JOINED = [ROOT / f"{stem}.py" for stem in JOINING]
ALL = [*JOINED, *sorted(p for folder in FOLDERS for p in (ROOT / folder).rglob("*.py"))]
OTHERS = [path for path in ALL if path not in SHIPPED]

DISTRIBUTIONS = importlib.metadata.packages_distributions()
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")


def name(path):
    return path.relative_to(ROOT).as_posix()


def imports(path):
    """Give (level, dotted name) of each import, those inside functions too."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append((node.level, node.module))
        elif isinstance(node, ast.ImportFrom):
            found += [(node.level, alias.name) for alias in node.names]
    return found


def packages(path):
    """Give the top-level packages that a file imports, our own and the standard library's too."""
    return {module.split(".")[0] for level, module in imports(path) if level == 0}


def requirements(*extras):
    """Give the distributions that setup.cfg declares, always and in some extras."""
    lines = SETUP["options"]["install_requires"].splitlines()
    for extra in extras:
        lines += SETUP["options.extras_require"][extra].splitlines()
    found = {re.match(r"[\w.-]+", line)[0] for line in lines if line and not line.startswith("#")}
    return {normal(distribution) for distribution in found}


def normal(distribution):
    return re.sub(r"[-_.]+", "-", distribution).lower()


def undeclared(path, declared):
    """Give what a file imports that is neither ours, nor the standard library's, nor declared."""
    third = packages(path) - OURS - set(sys.stdlib_module_names)
    distributions = {module: map(normal, DISTRIBUTIONS.get(module, [module])) for module in third}
    return sorted(module for module, names in distributions.items() if not declared & {*names})


@pytest.mark.parametrize("path", SHIPPED, ids=name)
def test_a_part_imports_no_other_part_and_itself_relatively(path):
    assert not packages(path) & OURS
    deepest = len(path.relative_to(ROOT).parts) - 1
    assert all(level <= deepest for level, _ in imports(path))


def test_configs_import_configs_alone():
    for path in (ROOT / "configs").rglob("*.py"):
        assert packages(path) & OURS <= {"configs"}, name(path)


def test_examples_import_what_is_installed():
    for path in (ROOT / "examples").rglob("*.py"):
        assert packages(path) & OURS <= {"autolossgen"}, name(path)


def test_what_joins_the_parts_is_called_from_the_entry_point():
    assert sorted(path.stem for path in ROOT.glob("*.py")) == sorted(JOINING)
    theirs = {stem: packages(ROOT / f"{stem}.py") & {*JOINING} for stem in JOINING}
    assert theirs == {
        "run": {"phases", "finalists", "transfer"},
        "finalists": {"phases"},
        "transfer": {"phases", "checks"},
        "phases": {"checks", "splits"},
        "checks": set(),
        "splits": set(),
    }


@pytest.mark.parametrize("part", PARTS)
def test_inside_a_part_each_file_imports_files_above_it_only(part):
    files = {path.stem: path for path in (ROOT / part).glob("*.py")}
    graph = {
        stem: {module.split(".")[0] for level, module in imports(path) if level == 1} & files.keys()
        for stem, path in files.items()
    }
    order = list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError
    assert set(order) == set(files)


@pytest.mark.parametrize("path", ALL, ids=name)
def test_no_file_is_longer_than_400_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("path", [*SHIPPED, *JOINED], ids=name)
def test_what_is_imported_is_declared(path):
    # alg/rows.py compares with PyTorch where it is installed.
    assert undeclared(path, requirements("search", "stream", "symbolic", "bench")) == []


@pytest.mark.parametrize("path", OTHERS, ids=name)
def test_what_development_imports_is_declared(path):
    beside = {other.stem for other in path.parent.glob("*.py")}
    declared = requirements("search", "stream", "symbolic", "bench", "dev") | {*map(normal, beside)}
    assert undeclared(path, declared) == []


def test_only_autolossgen_is_installed():
    options = SETUP["options"]
    installed = options["packages"].split()
    folder_of = dict(re.findall(r"^(\S+) = (\S+)$", options["package_dir"], re.MULTILINE))
    assert {package.split(".")[0] for package in installed} == {"autolossgen"}
    assert sorted(folder_of) == sorted(installed)
    assert "py_modules" not in options
    code = {path.parent.relative_to(ROOT).as_posix() for path in SHIPPED}
    assert sorted(folder_of.values()) == sorted(code)


def test_types_are_shipped_with_the_code():
    assert SETUP["options.package_data"]["autolossgen"].split() == ["py.typed"]
    assert (ROOT / "alg" / "py.typed").is_file()


def test_no_module_hides_an_installed_part():
    assert not {path.stem for path in (ROOT / "alg").glob("*.py")} & {*PARTS}
