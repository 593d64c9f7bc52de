"""The package and its documentation use the words of the field, not words of their own."""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "selfattn_lm").rglob("*.py"))
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "configs").glob("*.yaml")),
]

# What is not written, and what is written instead.
INSTEAD = {
    r"thoughts?": "feed-forward network",
    r"hidden (token|word)s?|(token|word)s? (is |are )?hidden|hides? (token|word)s?": "masked tokens",
    r"guess(es|ed|ing)?": "predict, detect",
    r"spell(s|ed|ings?)?": "character n-grams, form",
    r"(two|both|each) views?": "branches",
    r"mend(s|ed|ing)?": "fix, correct",
    r"so (many|much)": "a number, a factor",
    r"tells|told": "report, say",
    r"stands?(?! for)|stood": "is, occurs",
    r"of (no )?use": "useful, useless",
    r"(the|these|all|more|fewer|[0-9]+|two|three|ten|alternating) rounds": "epochs, repetitions",
    r"began with|begun": "started with",
    r"shares? of": "fraction",
    r"(is|are|was|were) asked(?! for)": "is set, is given",
    r"data sets?": "dataset",
    r"(row|text|token|vector|number|batche|batch|validation|epoch)s? an? "
    r"(label|text|token|second|step|batch|epoch)": "per",
}
PATTERNS = {
    re.compile(rf"\b({words})\b".replace(" ", r"\s+"), re.IGNORECASE): instead
    for words, instead in INSTEAD.items()
}

# Names of measured rows, by which saved results are found, and ordinary uses.
ALLOWED = {
    "selfattn_lm/data/hub.py": ("check the spelling",),
    "selfattn_lm/nn/embedding.py": ("Tokens that are spelled similarly",),
    "selfattn_lm/studies/picture.py": ("texts a second",),
    "selfattn_lm/runs/hf/files.py": ("check the spelling",),
    "docs/results.md": ("no spelling", "no tokens hidden"),
    "docs/pretrained.md": ("rows a label",),
    "docs/performance.md": ("with n-grams, spelling and two views",),
}


def prose(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of what is written for people to read.

    In Python that is each string and each block of comments, without the expressions of f-strings.
    """
    text = file.read_text(encoding="utf-8")
    if file.suffix != ".py":
        yield 1, re.sub(r"`[^`\n]*`", "``", text)
        return
    comments: list[str] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        kind = tokenize.tok_name[token.type]
        if kind == "COMMENT":
            comments.append(token.string.lstrip("# "))
        elif kind != "NL" and comments:
            yield token.start[0] - len(comments), "\n".join(comments)
            comments = []
        if kind in ("STRING", "FSTRING_MIDDLE"):
            yield token.start[0], re.sub(r"\{[^{}\n]*\}", "{}", token.string)


def phrase_pattern(phrase: str) -> re.Pattern[str]:
    """Return what matches a phrase, also where a line ends within it."""
    return re.compile(r"\s+".join(re.escape(word) for word in phrase.split()))


def without_exceptions(text: str, name: str) -> str:
    """Remove the phrases that are allowed in a file, but no line."""
    for phrase in ALLOWED.get(name, ()):
        text = phrase_pattern(phrase).sub(line_ends, text)
    return text


def line_ends(match: re.Match[str]) -> str:
    """Return the line ends of what was matched, so that later lines keep their numbers."""
    return "\n" * match.group().count("\n")


def found(file: Path) -> list[str]:
    """Find what should be worded otherwise in a file, a line for each."""
    complaints = []
    name = name_of(file)
    for first_line, original in prose(file):
        text = without_exceptions(original, name)
        for pattern, instead in PATTERNS.items():
            for match in pattern.finditer(text):
                line = first_line + text.count("\n", 0, match.start())
                words = " ".join(match.group().split())
                complaints.append(f"line {line}: {words!r} (instead: {instead})")
    return complaints


def name_of(file: Path) -> str:
    """Return the path of a file within the repository."""
    return file.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("file", [*SOURCES, *DOCUMENTS], ids=name_of)
def test_the_words_are_those_of_the_field(file: Path) -> None:
    assert found(file) == []


@pytest.mark.parametrize("name", ALLOWED)
def test_each_exception_occurs(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert [phrase for phrase in ALLOWED[name] if not phrase_pattern(phrase).search(text)] == []


def test_words_are_found_in_strings_and_comments_and_not_in_code(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(
        'def guess(told):\n    """Guess the hidden\n    words."""\n    # so\n    # many\n    return f"{told} mend"\n'
    )
    lines = [line for line, _ in prose(file)]
    assert lines == [2, 4, 6]
    texts = " ".join(" ".join(text for _, text in prose(file)).split())
    assert texts == '"""Guess the hidden words.""" so many f"{} mend"'
