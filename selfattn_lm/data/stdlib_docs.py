"""The embedded corpus: what the docstrings of the interpreter's own standard library are about.

Read with `ast`, nothing imported or run. It differs a little between interpreters: a demo, not a benchmark.
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

TOPICS: dict[str, str] = {
    "concurrency": """asyncio threading multiprocessing concurrent queue sched subprocess signal selectors
    _threading_local""",
    "files": """os posixpath ntpath genericpath pathlib shutil tempfile glob fnmatch zipfile tarfile gzip bz2 lzma _pyio
    fileinput filecmp stat linecache mimetypes _compression shelve dbm pickle pickletools""",
    "graphics": "tkinter turtle idlelib turtledemo",
    "language": """ast dis inspect symtable tokenize code codeop types typing abc functools collections _collections_abc
    enum dataclasses contextlib copy reprlib warnings weakref operator heapq bisect graphlib lib2to3 pyclbr ctypes
    importlib pkgutil zipimport runpy modulefinder compileall py_compile site sysconfig distutils ensurepip venv""",
    "network": """socket socketserver ssl http urllib ftplib smtplib smtpd poplib imaplib nntplib telnetlib xmlrpc
    wsgiref webbrowser cgi asynchat asyncore ipaddress email mailbox mailcap netrc uuid secrets""",
    "numbers and time": """_pydecimal fractions numbers statistics random datetime _pydatetime calendar zoneinfo
    _strptime""",
    "testing": "unittest doctest pdb bdb trace traceback timeit profile cProfile pstats cmd tracemalloc logging",
    "text": """string re difflib textwrap csv json configparser argparse optparse getopt gettext locale codecs encodings
    html xml shlex tomllib pprint base64 quopri""",
}
_SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}


@cache
def load(folder: Path | None = None) -> dict[str, list[tuple[str, str]]]:
    """(text, topic) pairs for each split, from the interpreter's standard library or one whose sources lie in `folder`.

    Modules stay whole: near-copies among the docstrings of one file do not stand in train and test at once.
    """
    folder = folder or Path(sysconfig.get_path("stdlib"))
    seen: set[str] = set()
    splits: dict[str, list[tuple[str, str]]] = {split: [] for split in _SHARES}
    missing = []
    for topic, modules in TOPICS.items():
        files = {module: _files(folder, module) for module in modules.split()}
        missing += [module for module, found in files.items() if not found]
        dealt = _deal([list(_new_paragraphs(file, seen)) for found in files.values() for file in found])
        if not all(dealt.values()):
            missing.append(f"texts enough on {topic}")
            continue
        for split, texts in dealt.items():
            splits[split] += [(text, topic) for text in texts]
    if not splits["train"]:
        reason = f"this interpreter has no sources of its standard library in {folder}"
        raise UserError(f"{NAME}: {reason}; name a data file.")
    if missing:
        log.warning("%s: this interpreter has no %s", NAME, ", ".join(missing))
    return splits


def _files(folder: Path, name: str) -> list[Path]:
    if (folder / name).is_dir():
        inside = (f.relative_to(folder) for f in (folder / name).rglob("*.py"))
        return [folder / f for f in sorted(inside) if not {"test", "tests", "idle_test"} & set(f.parts[1:])]
    return [file] if (file := folder / f"{name}.py").is_file() else []


def _new_paragraphs(file: Path, seen: set[str]) -> Iterator[str]:
    """The first paragraph of each docstring, on one line, once; too short ones say nothing of the topic."""
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, OSError):  # a fixture that is broken on purpose
        return
    for node in _walk_statements(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
            if text.count(" ") >= 2 and text.lower() not in seen:
                seen.add(text.lower())
                yield text


def _walk_statements(tree: ast.Module) -> Iterator[ast.AST]:
    """Walk a tree in the order of `ast.walk`, but past expressions, which are many and hold no docstring."""
    waiting: deque[ast.AST] = deque([tree])
    while waiting:
        node = waiting.popleft()
        yield node
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
                waiting.append(child)


def _deal(modules: list[list[str]]) -> dict[str, list[str]]:
    """Whole modules to the splits, the larger first, each to the split that lacks the most of its share."""
    total = sum(map(len, modules)) or 1
    dealt: dict[str, list[str]] = {split: [] for split in _SHARES}
    for module in sorted(modules, key=len, reverse=True):
        dealt[max(_SHARES, key=lambda split: _SHARES[split] - len(dealt[split]) / total)] += module
    return dealt
