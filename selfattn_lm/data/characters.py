"""Which characters are visible; a text without visible characters counts as blank."""

import unicodedata

# Unicode counts these fillers, joiners and the blank Braille cell as letters, marks and symbols,
# but they are drawn as nothing.
_DRAWN_AS_NOTHING = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
)


def visible_text(text: str) -> str:
    """Return the text without surrounding white space, or "" if none of its characters is visible.

    This is the only definition of a blank text and of a blank label.
    """
    stripped = text.strip()
    if "!" <= stripped[:1] <= "~":  # most texts start with visible ASCII: skip the slow check
        return stripped
    for character in stripped:
        if not is_invisible(character):
            return stripped
    return ""


def is_invisible(character: str) -> bool:
    """Return whether a character shows nothing.

    These are white space, control and format characters (such as U+200B, U+FEFF and U+00AD),
    variation selectors, and other characters that are drawn as nothing.
    """
    if unicodedata.category(character) in ("Zs", "Zl", "Zp", "Cc", "Cf"):
        return True
    if "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef":
        return True  # a variation selector
    return character in _DRAWN_AS_NOTHING
