import ast
import importlib.util
import io
import re
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

import selfattn_lm

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "selfattn_lm"
FLOORS = [
    "errors",
    "phrases",
    "memory",
    "config",
    "places",
    "measurements",
    "threads",
    "hardware",
    "precision",
    "data",
    "tasks",
    "inputs",
    "features",
    "nn",
    "build",
    "runs",
    "inference",
    "evaluation",
    "training",
    "studies",
    "run_names",
    "start",
    "api",
    "cli",
    "__main__",
]
FILES = sorted(PACKAGE.rglob("*.py"))
NO_CODE = (
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
)


def floor(name: str) -> int:
    return FLOORS.index(name.split(".")[1])


@pytest.mark.parametrize(
    "file", [f for f in FILES if f.name != "__init__.py"], ids=lambda f: f.name
)
def test_an_import_points_only_down_the_floors(file: Path) -> None:
    own = ".".join(file.relative_to(ROOT).with_suffix("").parts)
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            if name.startswith("selfattn_lm."):
                assert floor(name) <= floor(own), f"{own} imports {name}"


def loaded_after(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(' '.join(sys.modules))"
    return set(
        subprocess.run(
            [sys.executable, "-c", script], check=True, capture_output=True, text=True
        ).stdout.split()
    )


def test_importing_the_package_or_the_command_line_loads_no_torch() -> None:
    loaded = loaded_after("import selfattn_lm, selfattn_lm.cli")
    assert not loaded & {"torch", "lightning", "datasets", "tokenizers", "pyarrow", "numpy"}


def test_predicting_loads_neither_lightning_nor_datasets(run: Path) -> None:
    code = f"from selfattn_lm import TextClassifier\nTextClassifier.load({str(run)!r}).predict(['a plum'])"
    assert not loaded_after(code) & {"lightning", "datasets", "torchmetrics", "pandas"}


def test_no_file_is_long_and_attention_is_short() -> None:
    lines = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in FILES}
    assert lines[PACKAGE / "nn" / "attention.py"] <= 80
    assert {file.name: count for file, count in lines.items() if count > 300} == {}


def code_lines(source: str) -> int:
    """Count the lines of code, without blank lines, comments and docstrings."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            assert node.end_lineno is not None
            lines.difference_update(range(node.lineno, node.end_lineno + 1))
    return len(lines)


@pytest.mark.parametrize(
    ("kinds", "per_1000_lines"),
    [
        ((ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp), 24),
        ((ast.IfExp,), 10),
        ((ast.NamedExpr,), 1),
        ((ast.Lambda,), 0),
    ],
    ids=["comprehensions", "conditional expressions", "walruses", "lambdas"],
)
def test_what_makes_code_dense_is_rare(
    kinds: tuple[type[ast.AST], ...], per_1000_lines: int
) -> None:
    sources = [file.read_text(encoding="utf-8") for file in FILES]
    lines = sum(code_lines(source) for source in sources)
    found = 0
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, kinds):
                found += 1
    assert 1000 * found <= per_1000_lines * lines


def test_loops_are_written_without_map_and_filter() -> None:
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("map", "filter"), f"{file}, line {node.lineno}"


def test_the_model_can_be_read_in_one_sitting() -> None:
    total = 0
    for file in (PACKAGE / "nn").rglob("*.py"):
        if file.name not in ("baselines.py", "bert.py"):
            total += len(file.read_text(encoding="utf-8").splitlines())
    assert total <= 700


def test_no_pickle_is_read_outside_of_checkpoints() -> None:
    for file in FILES:
        source = file.read_text(encoding="utf-8")
        assert not re.search(r"import pickle|pickle\.load|joblib|allow_pickle", source), file
        for call in re.findall(r"torch\.load\(.*", source):
            assert "weights_only=True" in call, file


def test_the_file_tree_of_the_readme_is_true() -> None:
    tree = (ROOT / "README.md").read_text(encoding="utf-8").split("## The files")[1].split("```")[1]
    named = set(re.findall(r"\b(\w+\.py)\b", tree))
    there = {file.name for file in FILES if not file.name.startswith("__")}
    assert there <= named
    assert named - there <= {
        file.name for folder in ("scripts", "benchmarks") for file in (ROOT / folder).iterdir()
    }


def test_the_changelog_names_this_version_or_what_is_to_come() -> None:
    assert "## Unreleased" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_settings_and_config_files_are_read_without_torch() -> None:
    code = "from pathlib import Path\nfrom selfattn_lm.config import read_config\n"
    config = ROOT / "configs" / "clinc150.yaml"
    loaded = loaded_after(f"{code}read_config(Path({str(config)!r}))")
    assert not loaded & {"torch", "safetensors", "tokenizers", "numpy"}


@pytest.mark.parametrize("name", selfattn_lm.__all__)
def test_no_module_takes_the_name_of_a_public_function(name: str) -> None:
    assert importlib.util.find_spec(f"selfattn_lm.{name}") is None
