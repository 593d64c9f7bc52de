"""Which characters can be seen: a text of others is blank."""

import unicodedata

# Letters, marks and symbols by their category, but drawn as nothing: fillers, joiners, the empty cell of Braille.
_DRAWN_AS_NOTHING = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")


def visible_text(text: str) -> str:
    """The text without the white space around it; an empty one if no character of it can be seen.

    Everything that asks whether a row has a text, or a label, asks here.
    """
    stripped = text.strip()
    if "!" <= stripped[:1] <= "~":  # as most texts begin; only to be fast
        return stripped
    for character in stripped:
        if not is_invisible(character):
            return stripped
    return ""


def is_invisible(character: str) -> bool:
    """White space, control and format characters (such as U+200B, U+FEFF, U+00AD), and what is drawn as nothing."""
    if unicodedata.category(character) in ("Zs", "Zl", "Zp", "Cc", "Cf"):
        return True
    is_variation_selector = "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"
    return is_variation_selector or character in _DRAWN_AS_NOTHING
