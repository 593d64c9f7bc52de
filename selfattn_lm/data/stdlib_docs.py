"""The embedded corpus: docstrings of Python's standard library, labelled by topic.

Each docstring has the topic of its module. The modules are parsed with `ast`; none is imported or
run. The corpus differs a little between versions of Python, so it is a demo and not a benchmark.
"""

import ast
import logging
import sysconfig
import warnings
from collections import deque
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from selfattn_lm.errors import UserError

log = logging.getLogger(__name__)
NAME = "stdlib-docs"

# The modules and packages of each topic, including those of other Python versions.
TOPICS = {
    "concurrency": """asyncio threading multiprocessing concurrent queue sched subprocess signal
        selectors _threading_local""",
    "files": """os posixpath ntpath genericpath pathlib shutil tempfile glob fnmatch zipfile tarfile
        gzip bz2 lzma _pyio fileinput filecmp stat linecache mimetypes _compression shelve dbm
        pickle pickletools""",
    "graphics": "tkinter turtle idlelib turtledemo",
    "language": """ast dis inspect symtable tokenize code codeop types typing abc functools
        collections _collections_abc enum dataclasses contextlib copy reprlib warnings weakref
        operator heapq bisect graphlib lib2to3 pyclbr ctypes importlib pkgutil zipimport runpy
        modulefinder compileall py_compile site sysconfig distutils ensurepip venv""",
    "network": """socket socketserver ssl http urllib ftplib smtplib smtpd poplib imaplib nntplib
        telnetlib xmlrpc wsgiref webbrowser cgi asynchat asyncore ipaddress email mailbox mailcap
        netrc uuid secrets""",
    "numbers and time": """_pydecimal fractions numbers statistics random datetime _pydatetime
        calendar zoneinfo _strptime""",
    "testing": """unittest doctest pdb bdb trace traceback timeit profile cProfile pstats cmd
        tracemalloc logging""",
    "text": """string re difflib textwrap csv json configparser argparse optparse getopt gettext
        locale codecs encodings html xml shlex tomllib pprint base64 quopri""",
}
_FRACTIONS = {"train": 0.7, "validation": 0.1, "test": 0.2}
_TEST_FOLDERS = {"test", "tests", "idle_test"}
_MIN_WORDS = 3  # shorter docstrings hardly show their topic


@cache
def load(folder: Path | None = None) -> dict[str, list[tuple[str, str]]]:
    """Load the corpus.

    All texts of a file are in the same split, so that its near-copies are not in both train and
    test.

    Args:
        folder: The sources of a standard library; by default those of this interpreter.

    Returns:
        The (text, topic) pairs of each split.

    Raises:
        UserError: If the folder has none of the modules.
    """
    folder = folder or Path(sysconfig.get_path("stdlib"))
    splits: dict[str, list[tuple[str, str]]] = {"train": [], "validation": [], "test": []}
    seen: set[str] = set()
    missing: list[str] = []
    for topic, modules in TOPICS.items():
        texts_by_file: list[list[str]] = []
        for module in modules.split():
            files = _source_files(folder, module)
            if not files:
                missing.append(module)
            for file in files:
                texts_by_file.append(list(_new_paragraphs(file, seen)))
        texts_by_split = _distribute(texts_by_file)
        if not all(texts_by_split.values()):
            missing.append(f"enough texts on {topic}")
            continue
        for split, texts in texts_by_split.items():
            for text in texts:
                splits[split].append((text, topic))
    if not splits["train"]:
        raise UserError(
            f"{NAME}: this interpreter has no sources of its standard library in {folder}; name a"
            " data file."
        )
    if missing:
        log.warning("%s: this interpreter has no %s", NAME, ", ".join(missing))
    return splits


def _source_files(folder: Path, module: str) -> list[Path]:
    """Return the file of a module, or all files of a package except its tests, sorted by path."""
    package = folder / module
    if not package.is_dir():
        file = folder / f"{module}.py"
        return [file] if file.is_file() else []
    files: list[Path] = []
    for file in sorted(package.rglob("*.py")):
        if _TEST_FOLDERS.isdisjoint(file.relative_to(package).parts):
            files.append(file)
    return files


def _new_paragraphs(file: Path, seen: set[str]) -> Iterator[str]:
    """Yield the first paragraph of each docstring of a file as one line.

    Args:
        file: A Python source.
        seen: The lower-cased paragraphs so far; they are not repeated, and new ones are added.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, OSError):  # some libraries ship files that do not parse
        return
    for node in _walk_statements(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        docstring = ast.get_docstring(node) or ""
        first_paragraph = docstring.split("\n\n")[0]
        words = first_paragraph.split()
        text = " ".join(words)
        if len(words) >= _MIN_WORDS and text.lower() not in seen:
            seen.add(text.lower())
            yield text


def _walk_statements(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the nodes of a tree in the order of `ast.walk`, without its expressions.

    Expressions are the greater part of a tree and hold no docstrings.
    """
    waiting: deque[ast.AST] = deque([tree])
    while waiting:
        node = waiting.popleft()
        yield node
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
                waiting.append(child)


def _distribute(texts_by_file: list[list[str]]) -> dict[str, list[str]]:
    """Distribute whole files over the splits.

    The largest file comes first, and each goes to the split that is furthest from its fraction.
    """
    total = max(sum(len(texts) for texts in texts_by_file), 1)
    splits: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for texts in sorted(texts_by_file, key=len, reverse=True):
        deficits: dict[str, float] = {}
        for split, fraction in _FRACTIONS.items():
            deficits[split] = fraction - len(splits[split]) / total
        furthest = max(deficits, key=deficits.__getitem__)
        splits[furthest].extend(texts)
    return splits
