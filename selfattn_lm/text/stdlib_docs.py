"""The embedded corpus: what the docstrings of the interpreter's own standard library are about.

Real English text on every machine that runs Python, read with `ast` (nothing is imported or run), labelled by a table
of modules. It differs a little between interpreters: a demo, not a benchmark.
"""

import ast
import logging
import sysconfig
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from selfattn_lm.errors import UserError

log = logging.getLogger(__name__)
NAME = "stdlib-docs"

TOPICS: dict[str, str] = {
    "concurrency": "asyncio threading multiprocessing concurrent queue sched subprocess signal selectors _threading_local",
    "files": "os posixpath ntpath genericpath pathlib shutil tempfile glob fnmatch zipfile tarfile gzip bz2 lzma _pyio"
    " fileinput filecmp stat linecache mimetypes _compression shelve dbm pickle pickletools",
    "graphics": "tkinter turtle idlelib turtledemo",
    "language": "ast dis inspect symtable tokenize code codeop types typing abc functools collections _collections_abc"
    " enum dataclasses contextlib copy reprlib warnings weakref operator heapq bisect graphlib lib2to3 pyclbr ctypes"
    " importlib pkgutil zipimport runpy modulefinder compileall py_compile site sysconfig distutils ensurepip venv",
    "network": "socket socketserver ssl http urllib ftplib smtplib smtpd poplib imaplib nntplib telnetlib xmlrpc wsgiref"
    " webbrowser cgi asynchat asyncore ipaddress email mailbox mailcap netrc uuid secrets",
    "numbers and time": "_pydecimal fractions numbers statistics random datetime _pydatetime calendar zoneinfo _strptime",
    "testing": "unittest doctest pdb bdb trace traceback timeit profile cProfile pstats cmd tracemalloc logging",
    "text": "string re difflib textwrap csv json configparser argparse optparse getopt gettext locale codecs encodings"
    " html xml shlex tomllib pprint base64 quopri",
}


@cache
def load(folder: Path | None = None) -> dict[str, list[tuple[str, str]]]:
    """(text, topic) pairs for train, validation and test.

    Modules stay whole: near-copies among the docstrings of one file do not stand in train and test at once.

    Args:
        folder: Where the standard library's sources lie; the running interpreter's by default.

    Raises:
        UserError: If this interpreter comes without the sources of its standard library.
    """
    folder = folder or Path(sysconfig.get_path("stdlib"))
    seen: set[str] = set()
    splits: dict[str, list[tuple[str, str]]] = {"train": [], "validation": [], "test": []}
    missing = []
    for topic, names in TOPICS.items():
        modules: list[list[str]] = []
        for name in names.split():
            files = _files(folder, name)
            missing += [] if files else [name]
            modules += [_new(_paragraphs(file), seen) for file in files]
        dealt = _deal(modules)
        if not all(dealt.values()):
            missing.append(f"texts enough on {topic}")
            continue
        for split, texts in dealt.items():
            splits[split] += [(text, topic) for text in texts]
    if not splits["train"]:
        raise UserError(
            f"{NAME}: this interpreter has no sources of its standard library in {folder}; name a data file."
        )
    if missing:
        log.warning("%s: this interpreter has no %s", NAME, ", ".join(missing))
    return splits


def _files(folder: Path, name: str) -> list[Path]:
    package = folder / name
    if package.is_dir():
        inside = (f.relative_to(folder) for f in package.rglob("*.py"))
        return [folder / f for f in sorted(inside) if not {"test", "tests", "idle_test"} & set(f.parts[1:])]
    return [file] if (file := folder / f"{name}.py").is_file() else []


def _paragraphs(file: Path) -> Iterator[str]:
    """The first paragraph of each docstring in a file, on one line; too short ones say nothing of the topic."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, OSError):  # a fixture that is broken on purpose
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = (ast.get_docstring(node) or "").split("\n\n")[0]
            text = " ".join(first.split())
            if len(text.split()) >= 3:
                yield text


def _new(texts: Iterator[str], seen: set[str]) -> list[str]:
    fresh = []
    for text in texts:
        if text.lower() not in seen:
            seen.add(text.lower())
            fresh.append(text)
    return fresh


def _deal(modules: list[list[str]]) -> dict[str, list[str]]:
    """Whole modules to the splits, the larger first, each to the split that lacks the most of its share."""
    shares = {"train": 0.7, "validation": 0.1, "test": 0.2}
    total = sum(map(len, modules)) or 1
    dealt: dict[str, list[str]] = {split: [] for split in shares}
    for module in sorted(modules, key=len, reverse=True):
        lacks = {split: share - len(dealt[split]) / total for split, share in shares.items()}
        dealt[max(lacks, key=lambda split: lacks[split])] += module
    return dealt
