"""The rules of the plan: who imports whom, what a folder holds, and what is installed."""

import ast
import configparser
import graphlib
import importlib.metadata
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "autolossgen"

# Each may import those before it.
LAYERS = ("language", "training", "search", "evaluation", "ranking")
PARTS = ("models", "controller", "data", "report")
LEAVES = ("interfaces", "suggest", "files")  # every part may import them, and they import none
JOINING = "pipeline"
CHECKOUT_NAMES = {"alg", *LAYERS, *PARTS, JOINING, "configs", "src"}  # folders, not import names
MOST_FILES = 16

PRODUCT_FOLDERS = [ROOT / "alg", *(ROOT / name for name in (*PARTS, JOINING, "configs"))]
PRODUCT = sorted(path for folder in PRODUCT_FOLDERS for path in folder.rglob("*.py"))
DEVELOPMENT = ("tests", "benchmarks", "experiments", "examples")
OTHERS = [
    ROOT / "run.py",
    *sorted(path for folder in DEVELOPMENT for path in (ROOT / folder).rglob("*.py")),
]

DISTRIBUTIONS = importlib.metadata.packages_distributions()
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")


def name(path):
    return path.relative_to(ROOT).as_posix()


def module_name(path):
    """Returns the name that a product file is imported by; that of ``alg/x.py`` lacks ``alg``."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[1:] if parts[0] == "alg" else parts
    return ".".join(("autolossgen", *(part for part in parts if part != "__init__")))


MODULES = {module_name(path): path for path in PRODUCT}


@cache
def import_nodes(path):
    """Returns all import statements of a file that can run, those inside functions too."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    return [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


@cache
def imported_names(path):
    """Returns the absolute dotted names that a product file imports, relative ones resolved."""
    package = module_name(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    names = set()
    for node in import_nodes(path):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
            continue
        above = package[: len(package) - node.level + 1] if node.level else []
        source = ".".join([*above, *([node.module] if node.module else [])])
        names |= {source, *(f"{source}.{alias.name}" for alias in node.names)}
    return names


def imported_modules(path):
    """Returns the product modules that a product file imports."""
    return {imported for imported in imported_names(path) if imported in MODULES}


def part_of(module):
    """Returns the first word after ``autolossgen``, or "" for the package itself."""
    return [*module.split("."), ""][1]


def imported_parts(path):
    return {part_of(module) for module in imported_modules(path)} - {part_of(module_name(path))}


def allowed_parts(part):
    """Returns the parts that a part may import; None for any."""
    if part == JOINING or part == "":
        return None
    if part == "__main__":  # it imports the search when it runs, and says what is missing
        return {""}
    if part in LEAVES:
        return {*LEAVES}
    if part == "configs":
        return {"suggest"}
    if part in LAYERS:
        return {*LAYERS[: LAYERS.index(part)], *LEAVES}
    return {*LEAVES}


@cache
def top_packages(path):
    """Returns the top-level packages that a file imports by absolute names."""
    packages = set()
    for node in import_nodes(path):
        if isinstance(node, ast.Import):
            packages |= {alias.name.split(".")[0] for alias in node.names}
        elif not node.level:
            packages.add(node.module.split(".")[0])
    return packages


def normal(distribution):
    return re.sub(r"[-_.]+", "-", distribution).lower()


def requirements(*extras):
    """Returns the distributions that setup.cfg declares, always and in some extras."""
    lines = SETUP["options"]["install_requires"].splitlines()
    for extra in extras:
        lines += SETUP["options.extras_require"][extra].splitlines()
    matches = [re.match(r"[\w.-]+", line) for line in lines if line and not line.startswith("#")]
    return {normal(match[0]) for match in matches}


def undeclared(path, declared):
    """Returns what a file imports that is neither ours, the standard library's, nor declared."""
    foreign = top_packages(path) - {"autolossgen", *DEVELOPMENT} - {*sys.stdlib_module_names}
    distributions = {module: map(normal, DISTRIBUTIONS.get(module, [module])) for module in foreign}
    return sorted(module for module, names in distributions.items() if not declared & {*names})


# Each rule is one test of all files: a test of its own for each takes longer than the rule.


def test_a_part_imports_only_what_the_plan_allows():
    for path in PRODUCT:
        allowed = allowed_parts(part_of(module_name(path)))
        assert allowed is None or imported_parts(path) <= allowed, name(path)


def test_only_the_language_is_imported_with_the_package():
    assert imported_parts(ROOT / "alg" / "__init__.py") <= {"language", *LEAVES}


def test_only_the_pipeline_joins_parts():
    joining = {part_of(module_name(p)) for p in PRODUCT if len(imported_parts(p) & {*PARTS}) > 1}
    assert joining == {JOINING}


def test_inside_a_part_imports_are_relative_and_across_parts_absolute():
    for path in PRODUCT:
        own = part_of(module_name(path))
        if own == "configs":
            continue  # loaded from anywhere by their paths, copies of users too
        is_alg = path.is_relative_to(ROOT / "alg")
        for node in import_nodes(path):
            if isinstance(node, ast.ImportFrom) and not node.level:
                where = f"{name(path)}: {ast.unparse(node)}"
                top, _, rest = node.module.partition(".")
                assert top != "autolossgen" or rest.split(".")[0] != own, where
                assert not (is_alg and top == "autolossgen"), where


def test_nothing_is_imported_by_the_name_of_its_folder():
    for path in PRODUCT:
        assert not top_packages(path) & CHECKOUT_NAMES, name(path)
    for path in OTHERS:
        siblings = {other.stem for other in path.parent.iterdir()}
        assert not top_packages(path) & (CHECKOUT_NAMES - siblings), name(path)


def test_examples_import_what_is_installed():
    for path in (ROOT / "examples").rglob("*.py"):
        assert not top_packages(path) & {"tests", "benchmarks", "experiments"}, name(path)


def test_there_are_no_cycles_of_imports():
    graph = {}
    for module, path in MODULES.items():
        graph[module] = imported_modules(path) - {module}
        if path.name != "__init__.py":  # a package is imported before what is in it
            graph[module] -= {module.rpartition(".")[0]}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


def test_a_folder_holds_few_files():
    for folder in {path.parent for path in PRODUCT}:
        assert len({*folder.glob("*.py")} - {folder / "__init__.py"}) <= MOST_FILES, name(folder)


def test_the_import_package_links_to_every_folder_and_file():
    links = {path.name: path.resolve() for path in SOURCE.iterdir() if path.name != "__pycache__"}
    in_alg = [p for p in (ROOT / "alg").iterdir() if p.name != "__pycache__"]
    folders = [ROOT / part for part in (*PARTS, JOINING, "configs")]
    assert links == {path.name: path for path in (*in_alg, *folders)}
    assert all(path.is_symlink() for path in SOURCE.iterdir() if path.name != "__pycache__")


def test_every_package_is_found_by_setuptools():
    """``packages = find:`` takes folders with an ``__init__.py`` alone."""
    options = SETUP["options"]
    assert options["packages"] == "find:"
    assert "py_modules" not in options
    assert SETUP["options.packages.find"]["where"] == "src"
    assert all((path.parent / "__init__.py").is_file() for path in PRODUCT)


def test_types_are_shipped_with_the_code():
    assert SETUP["options.package_data"]["autolossgen"].split() == ["py.typed"]
    assert (ROOT / "alg" / "py.typed").is_file()


def test_what_the_product_imports_is_declared():
    optional = ("search", "stream", "wandb", "mlflow")
    for path in PRODUCT:
        # Operator checks compare with PyTorch where it is installed.
        extras = () if part_of(module_name(path)) == "language" else optional
        assert undeclared(path, requirements(*extras, "bench")) == [], name(path)


def test_what_development_imports_is_declared():
    for path in OTHERS:
        siblings = {normal(other.stem) for other in path.parent.glob("*.py")}
        declared = requirements(*SETUP["options.extras_require"]) | siblings
        assert undeclared(path, declared) == [], name(path)


@pytest.mark.parametrize("part", ["alg", "controller", "data", "models", "pipeline", "report"])
def test_a_part_has_one_import_name(part):
    """Under a second name a process would have a second copy of every class."""
    code = f"import {part}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "ImportError: import autolossgen" in done.stderr
