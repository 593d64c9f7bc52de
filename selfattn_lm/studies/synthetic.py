"""Generated texts whose label depends on two words at a known distance, and on no count of words.

Whatever the label, a task draws the same words and arranges them differently. A model that is blind
to order is therefore at chance, 50 %, and a perfect one reaches 100 %. Each text begins with the
name of its task, so that one model can learn all of them.
"""

from collections.abc import Callable

import numpy as np

from selfattn_lm.data.examples import Split

DISTANCES = (3, 6, 12, 24, 48)
_FILLERS = [f"w{i}" for i in range(20)]


def _scatter(random: np.random.Generator, words: list[str], count: int) -> list[str]:
    """Return `count` words: the given ones at random positions, the others fillers."""
    positions = random.permutation(count)[: len(words)].tolist()
    text = [_FILLERS[i] for i in random.integers(len(_FILLERS), size=count)]
    for position, word in zip(positions, words, strict=True):
        text[position] = word
    return text


def _fillers(random: np.random.Generator, count: int) -> list[str]:
    return _scatter(random, [], count)


def _gap(random: np.random.Generator) -> list[str]:
    """9 to 14 fillers: a window of the CNN, 9 words, cannot contain words from both sides."""
    return _fillers(random, int(random.integers(9, 15)))


def agreement(random: np.random.Generator, distance: int) -> tuple[list[str], str]:
    """Does the verb agree with the first noun? A noun of the other number is between them."""
    subject, other = random.permutation(["sheep", "goats"]).tolist()
    verb = str(random.choice(["grazes", "graze"]))
    text = [*_gap(random), subject]
    text += [*_scatter(random, [other], distance - 1), verb, *_gap(random)]
    if (subject, verb) in {("sheep", "grazes"), ("goats", "graze")}:
        return text, "agrees"
    return text, "clashes"


def negation(random: np.random.Generator, distance: int) -> tuple[list[str], str]:
    """`not` reverses the judgement that follows it at a distance, not the one that precedes it."""
    before, after = random.permutation(["good", "bad"]).tolist()
    text = [*_gap(random), before, *_gap(random), "not"]
    text += [*_fillers(random, distance - 1), after, *_gap(random)]
    if after == "bad":
        return text, "positive"
    return text, "negative"


def matching(random: np.random.Generator, distance: int) -> tuple[list[str], str]:
    """The last word asks for a name. The label is the colour that follows that name in the text."""
    asked, other = random.permutation(["ann", "bob"]).tolist()
    right, wrong = random.permutation(["red", "blue"]).tolist()
    between = _fillers(random, distance - 2)
    other_is_nearer = distance > 3 and random.random() < 0.5
    if other_is_nearer:
        position = int(random.integers(distance - 3))
        between[position : position + 2] = [other, wrong]
        text = [*_gap(random), asked, right, *between, f"{asked}?"]
    else:
        text = [*_gap(random), other, wrong, *_gap(random), asked, right, *between, f"{asked}?"]
    return text, right


def ends(random: np.random.Generator, distance: int) -> tuple[list[str], str]:
    """Are the first and the last word the same? Each text has two of each of the two words."""
    first, last = random.choice(["heads", "tails"], 2).tolist()
    rest = ["heads", "heads", "tails", "tails"]
    rest.remove(first)
    rest.remove(last)
    text = [first, *_scatter(random, rest, distance - 1), last]
    if first == last:
        return text, "same"
    return text, "different"


# A task draws one text: (random, distance) -> (words, label).
Task = Callable[[np.random.Generator, int], tuple[list[str], str]]
TASKS: dict[str, Task] = {
    "agreement": agreement,
    "negation": negation,
    "matching": matching,
    "ends": ends,
}


def generate(
    texts: int, seed: int, distances: tuple[int, ...] = DISTANCES
) -> dict[tuple[str, int], Split]:
    """Draw the given number of texts for each task and distance.

    Returns:
        A split for each (task, distance), which depends only on them, `texts` and `seed`.
    """
    splits = {}
    for task in TASKS:
        for distance in distances:
            splits[task, distance] = _generate_split(task, distance, texts, seed)
    return splits


def _generate_split(task: str, distance: int, count: int, seed: int) -> Split:
    random = np.random.default_rng([seed, distance, *task.encode()])
    texts: list[str] = []
    labels: list[str] = []
    for _ in range(count):
        words, label = TASKS[task](random, distance)
        texts.append(" ".join([f"{task}:", *words]))
        labels.append(label)
    return Split.from_lists(f"{task} at {distance}", texts, labels)
