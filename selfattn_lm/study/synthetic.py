"""Generated texts whose label is fixed by two words at a known distance, and by nothing that can be counted.

Whatever the label, a task draws the same words and arranges them differently: a model that is blind to order stands at
chance, one in two, and a perfect one at 100 %. Each text begins with the name of its task: one model learns them all.
"""

from collections.abc import Callable

import numpy as np

from selfattn_lm.data.sources import Split

DISTANCES = (3, 6, 12, 24, 48)
_FILLERS = [f"w{i}" for i in range(20)]


def _strewn(random: np.random.Generator, words: list[str], count: int) -> list[str]:
    """The words at random places among `count` in all, the rest fillers."""
    places = random.permutation(count)[: len(words)]
    text = [_FILLERS[i] for i in random.integers(len(_FILLERS), size=count)]
    for place, word in zip(places.tolist(), words, strict=True):
        text[place] = word
    return text


def _some(random: np.random.Generator) -> list[str]:
    """9 to 14 fillers, so that no window of the CNN, which sees 9 words, holds what stands on either side of them."""
    return _strewn(random, [], int(random.integers(9, 15)))


def agreement(random: np.random.Generator, distance: int) -> tuple[list[str], str]:
    """Whether the verb agrees in number with the first noun; a noun of the other number stands between."""
    subject, other = random.permutation(["sheep", "goats"]).tolist()
    verb = str(random.choice(["grazes", "graze"]))
    text = [*_some(random), subject, *_strewn(random, [other], distance - 1), verb, *_some(random)]
    return text, "agrees" if (subject, verb) in {("sheep", "grazes"), ("goats", "graze")} else "clashes"


def negation(random: np.random.Generator, distance: int) -> tuple[list[str], str]:
    """`not` turns the next judgement, at a distance, into its opposite, and leaves alone the one that stands before."""
    before, after = random.permutation(["good", "bad"]).tolist()
    text = [*_some(random), before, *_some(random), "not", *_strewn(random, [], distance - 1), after, *_some(random)]
    return text, "positive" if after == "bad" else "negative"


def matching(random: np.random.Generator, distance: int) -> tuple[list[str], str]:
    """The last word asks for a name; the label is the colour that stood next to that name."""
    (asked, other), (right, wrong) = (random.permutation(pair).tolist() for pair in (["ann", "bob"], ["red", "blue"]))
    between = _strewn(random, [], distance - 2)
    if distance > 3 and random.random() < 0.5:  # the other name stands nearer, or farther away
        place = int(random.integers(distance - 3))
        between[place : place + 2] = [other, wrong]
        return [*_some(random), asked, right, *between, f"{asked}?"], right
    return [*_some(random), other, wrong, *_some(random), asked, right, *between, f"{asked}?"], right


def ends(random: np.random.Generator, distance: int) -> tuple[list[str], str]:
    """Whether the first and the last word are the same; there are always two of each kind."""
    first, last = random.choice(["heads", "tails"], 2).tolist()
    rest = ["heads", "heads", "tails", "tails"]
    rest.remove(first)
    rest.remove(last)
    return [first, *_strewn(random, rest, distance - 1), last], "same" if first == last else "different"


TASKS: dict[str, Callable[[np.random.Generator, int], tuple[list[str], str]]] = {
    "agreement": agreement,
    "negation": negation,
    "matching": matching,
    "ends": ends,
}


def generate(texts: int, seed: int, distances: tuple[int, ...] = DISTANCES) -> dict[tuple[str, int], Split]:
    """So many texts of each task at each distance."""
    found = {}
    for task, write in TASKS.items():
        for distance in distances:
            random = np.random.default_rng([seed, distance, *task.encode()])
            pairs = [write(random, distance) for _ in range(texts)]
            written = [" ".join([f"{task}:", *words]) for words, _ in pairs]
            found[task, distance] = Split.in_memory(f"{task} at {distance}", written, [label for _, label in pairs])
    return found
