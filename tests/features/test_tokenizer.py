import os
import subprocess
import sys
import unicodedata
from hashlib import sha256

import numpy as np
import pytest
from helpers import sentences, tokenizer_config
from tokenizers import Tokenizer

from selfattn_lm.features.sequences import TokenizedTexts
from selfattn_lm.features.tokenizer import SPECIAL, load_tokenizer, mostly_unspaced, train_tokenizer

TEXTS = [text for text, _ in sentences(200)] + [
    "The Queen's naïve tea, at 9:30!",
    "我爱北京的茶 and 北京爱我",
] * 2
HAN = "我爱北京的茶"
TRIALS = ["", "the apple, and THE unknown zyzzyva", "naïve 9:30", HAN, "[CLS] [PAD] Ω 😀"]
UNITS = ["word", "wordpiece", "bpe", "character"]
every_unit = pytest.mark.parametrize("unit", UNITS)
TRAINED = {unit: train_tokenizer(TEXTS, tokenizer_config(unit)) for unit in UNITS}
# In each language two words, or two forms of a word, that only marks tell apart.
DIFFER_BY_A_MARK = [
    ("かき", "かぎ"),  # oyster, key
    ("はり", "ばり"),
    ("มา", "ม้า"),  # to come, horse
    ("मल", "मूल"),  # dirt, root
    ("ma", "má"),  # ghost, mother
    ("ano", "año"),
    ("schon", "schön"),
    ("все", "всё"),
    ("كتب", "كُتُب"),  # he wrote, books
]
HASHES = """
from hashlib import sha256
from test_tokenizer import TRAINED
print(*(sha256(tokenizer.to_str().encode()).hexdigest() for tokenizer in TRAINED.values()))
"""


def tokens_of(tokenizer: Tokenizer, text: str) -> list[str]:
    return tokenizer.encode(text).tokens


@every_unit
def test_training_twice_gives_the_same_bytes(unit: str) -> None:
    assert train_tokenizer(TEXTS, tokenizer_config(unit)).to_str() == TRAINED[unit].to_str()


def test_another_process_gives_the_same_bytes() -> None:
    places = {
        "PYTHONHASHSEED": "12345",
        "RAYON_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-c", HASHES], env=os.environ | places, capture_output=True, text=True
    )
    here = [sha256(tokenizer.to_str().encode()).hexdigest() for tokenizer in TRAINED.values()]
    assert done.stdout.split() == here, done.stderr


@every_unit
def test_a_loaded_tokenizer_gives_the_same_ids(unit: str) -> None:
    loaded = load_tokenizer(TRAINED[unit].to_str(pretty=True))
    for text in TRIALS + TEXTS[:20]:
        assert loaded.encode(text).ids == TRAINED[unit].encode(text).ids


@every_unit
def test_special_tokens_come_first_in_the_vocabulary(unit: str) -> None:
    assert [TRAINED[unit].token_to_id(token) for token in SPECIAL] == [0, 1, 2, 3]
    ids = TRAINED[unit].get_vocab().values()
    assert sorted(ids) == list(range(len(ids)))


@every_unit
def test_every_text_begins_with_cls_and_what_a_user_writes_is_not_special(unit: str) -> None:
    for tokenizer in (TRAINED[unit], load_tokenizer(TRAINED[unit].to_str())):
        assert tokenizer.encode("").ids == [2]
        for text in [*TRIALS, "[PAD]", "[CLS]", "[MASK]", "[CLS][PAD]"]:
            first, *rest = tokenizer.encode(text).ids
            assert first == 2
            assert not {0, 2, 3} & set(rest)
        assert len(tokenizer.encode("[PAD]").ids) > 2


@every_unit
def test_what_was_never_seen_is_unknown(unit: str) -> None:
    assert tokens_of(TRAINED[unit], "Ω") == ["[CLS]", "[UNK]"]
    assert tokens_of(TRAINED[unit], "apple Ω apple").count("[UNK]") == 1
    assert ("[UNK]" in tokens_of(TRAINED[unit], "elppa")) == (unit == "word")


def test_wordpiece_spells_each_word_of_known_characters() -> None:
    tokenizer = TRAINED["wordpiece"]
    single = [piece for piece in tokenizer.get_vocab() if len(piece) == 1]
    assert set("acdefg,9茶") <= set(single)
    assert all(tokenizer.token_to_id(f"##{character}") is not None for character in single)
    letters = sorted(
        character for character in single if character.isascii() and character.isalpha()
    )
    chance = np.random.default_rng(0)
    for length in (1, 2, 5, 30, 100):
        word = "".join(chance.choice(letters, length))
        assert "".join(tokens_of(tokenizer, word)[1:]).replace("##", "") == word


@every_unit
def test_the_vocabulary_is_no_larger_than_asked(unit: str) -> None:
    assert train_tokenizer(TEXTS, tokenizer_config(unit, vocab_size=70)).get_vocab_size() <= 70


@pytest.mark.parametrize("unit", ["word", "character"])
def test_chinese_has_a_token_for_each_character(unit: str) -> None:
    assert tokens_of(TRAINED[unit], HAN) == ["[CLS]", *HAN]


@pytest.mark.parametrize(
    ("text", "unspaced"),
    [
        ("The cat sat on the mat.", False),
        ("我爱北京的茶。", True),
        ("ひらがなとカタカナ", True),
        ("ภาษาไทยเขียนติดกัน", True),
        ("한국어는 띄어 쓴다", False),
        ("the word 茶 means tea", False),
        ("我爱北京的茶 tea 我爱北京", True),
        ("12:30 !?", False),
        ("", False),
    ],
)
def test_scripts_without_spaces_are_noticed(text: str, unspaced: bool) -> None:
    assert mostly_unspaced([text]) == unspaced
    assert mostly_unspaced(["", text, text]) == unspaced


@every_unit
@pytest.mark.parametrize("lowercase", [True, False])
def test_case_is_folded_if_asked(unit: str, lowercase: bool) -> None:
    texts = ["Tea tea Ärger ärger İzmir izmir ΝΌΤΑ νότα ÉTÉ été"] * 3
    tokenizer = train_tokenizer(texts, tokenizer_config(unit, lowercase=lowercase))
    assert "[UNK]" not in tokens_of(tokenizer, texts[0])
    for pair in ("Tea tea", "Ärger ärger", "İzmir izmir", "ΝΌΤΑ νότα", "ÉTÉ été"):
        capital, small = pair.split()
        assert (tokenizer.encode(capital).ids == tokenizer.encode(small).ids) == lowercase


@every_unit
@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize(("one", "other"), DIFFER_BY_A_MARK)
def test_marks_stay_unless_they_are_stripped(
    unit: str, lowercase: bool, one: str, other: str
) -> None:
    texts = [f"{one} {other}"] * 3
    tokenizer = train_tokenizer(texts, tokenizer_config(unit, lowercase=lowercase))
    for word in (one, other):
        written = "".join(tokens_of(tokenizer, word)[1:]).replace("##", "")
        assert written == unicodedata.normalize("NFC", word)
    assert tokenizer.encode(one).ids != tokenizer.encode(other).ids
    stripping = train_tokenizer(
        texts, tokenizer_config(unit, lowercase=lowercase, strip_accents=True)
    )
    assert stripping.encode(one).ids == stripping.encode(other).ids


@every_unit
@pytest.mark.parametrize("strip_accents", [True, False])
def test_both_spellings_of_a_letter_have_the_same_ids(unit: str, strip_accents: bool) -> None:
    words = [
        "été",
        "Ärger",
        "ngày",
        "かぎ",
        "パン",
        "한국어",
        "हिंदी क़लम",
        "ที่นี่",
        "ǰ J\u030c",
        "Ἀθῆναι",
        "йод",
        "Å \u212b",
    ]
    composed = [unicodedata.normalize("NFC", word) for word in words]
    in_parts = [unicodedata.normalize("NFD", word) for word in words]
    config = tokenizer_config(unit, strip_accents=strip_accents)
    tokenizer = train_tokenizer(composed * 3, config)
    assert train_tokenizer(in_parts * 3, config).to_str() == tokenizer.to_str()
    for one, other in zip(composed, in_parts, strict=True):
        assert tokenizer.encode(one).ids == tokenizer.encode(other).ids
        assert "[UNK]" not in tokens_of(tokenizer, one)


@every_unit
@pytest.mark.parametrize("strip_accents", [True, False])
def test_hangul_is_not_taken_apart(unit: str, strip_accents: bool) -> None:
    tokenizer = train_tokenizer(
        ["한국어 한국"] * 3, tokenizer_config(unit, strip_accents=strip_accents)
    )
    assert "".join(tokens_of(tokenizer, "한국어")[1:]).replace("##", "") == "한국어"
    assert len(tokens_of(tokenizer, "한국어")) <= 1 + 3


@every_unit
def test_what_cannot_be_seen_changes_nothing_and_joins_no_words(unit: str) -> None:
    tokenizer = train_tokenizer(["I ❤ tea and cake"] * 3, tokenizer_config(unit))
    plain = tokenizer.encode("I ❤ tea and cake").ids
    for text in (
        "I ❤\ufe0f tea and cake",
        "I ❤ t\u200bea and\u00ad cake\ufeff",
        "I ❤ tea\x0cand\x85cake",
        "I ❤\u2028tea\vand cake",
    ):
        assert tokenizer.encode(text).ids == plain


def test_a_mark_of_its_own_is_a_character() -> None:
    tokenizer = train_tokenizer(["ที่ हिंदी é"] * 2, tokenizer_config("character"))
    assert tokens_of(tokenizer, "ที่") == ["[CLS]", "ท", "ี", "่"]
    assert tokens_of(tokenizer, "e\u0301 हि") == ["[CLS]", "é", "ह", "ि"]


def test_token_ids_hold_each_text_cut() -> None:
    tokens = TokenizedTexts.from_texts(
        TRAINED["word"], ["", "apple pear plum", "the apple"], max_length=3
    )
    apple, pear, the = (TRAINED["word"].token_to_id(word) for word in ("apple", "pear", "the"))
    assert [tokens[i].tolist() for i in range(len(tokens))] == [
        [2],
        [2, apple, pear],
        [2, the, apple],
    ]
    assert tokens.lengths.tolist() == [1, 3, 3]
    assert tokens.full_lengths.tolist() == [1, 4, 3]
    assert tokens.truncation() == {"texts_cut": 1 / 3, "tokens_lost": 1 / 8}


@every_unit
@pytest.mark.parametrize("limit", [1, 4, 7, 100])
def test_cutting_later_equals_tokenizing_with_that_limit(unit: str, limit: int) -> None:
    texts = (TEXTS + TRIALS) * 6  # more than one chunk
    whole = TokenizedTexts.from_texts(TRAINED[unit], texts, 9)
    later = whole.truncate(limit)
    at_once = TokenizedTexts.from_texts(TRAINED[unit], iter(texts), min(limit, 9))
    assert later.ids.dtype == at_once.ids.dtype == np.int32
    for name in ("lengths", "full_lengths"):
        assert getattr(later, name).tolist() == getattr(at_once, name).tolist(), name
    assert later.truncation() == at_once.truncation()
    assert whole.lengths.max() == 9 or limit > 9  # the whole texts are as they were
    for number, text in enumerate(texts):
        assert later[number].tolist() == TRAINED[unit].encode(text).ids[: min(limit, 9)]


@every_unit
@pytest.mark.parametrize(
    "text", ["a" * 10**6, "the apple " * 100_000, "我爱" * 166_667], ids=["word", "words", "han"]
)
def test_a_text_of_a_megabyte_is_cut_like_any_other(unit: str, text: str) -> None:
    tokens = TokenizedTexts.from_texts(TRAINED[unit], [text, "the apple"], 64)
    assert tokens[0].tolist() == TRAINED[unit].encode(text[:2000]).ids[:64]
    assert tokens[1].tolist() == TRAINED[unit].encode("the apple").ids
