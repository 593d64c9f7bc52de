"""Which columns are read, what a run remembers of them, and the messages for missing ones."""

import csv
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers import SMALL, sentences, write_csv

from selfattn_lm import evaluate, fit, predict, pretrain, train
from selfattn_lm.cli import main
from selfattn_lm.config import DataConfig, Settings, read_config, settings_from
from selfattn_lm.data.columns import AUTO, find_labels, find_text
from selfattn_lm.data.sources import load_split, load_splits
from selfattn_lm.errors import UserError
from selfattn_lm.runs import read_run

QUICK: dict[str, Any] = {**SMALL, "training": {"epochs": 1}}


def refusal(function: Any, *arguments: Any, **more: Any) -> str:
    with pytest.raises(UserError) as caught:
        function(*arguments, **more)
    return str(caught.value)


def resolved_settings(run: Path) -> dict[str, Any]:
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    resolved: dict[str, Any] = config["resolved"]
    return resolved


def second_text(path: Path) -> str:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return rows[1]["text"]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write texts in `title` and `Body, full`, labels in `gold`, and no label in `topic`."""
    rows = [(text.upper(), text, "no", label) for text, label in sentences(60)]
    folder = tmp_path_factory.mktemp("pairs")
    return write_csv(folder / "pairs.csv", rows, ("title", "Body, full", "topic", "gold"))


@pytest.fixture(scope="module")
def trained(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "run"
    columns: dict[str, Any] = {"text_column": ["title", "Body, full"], "label_column": "gold"}
    return train(str(pairs), out=out, **QUICK, **columns).folder


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("b", ("b",)),
        ("a,b", ("a", "b")),
        ("a, b", ("a", "b")),
        ("c, d", ("c, d",)),
        (["a", "c, d"], ("a", "c, d")),
        (["a", "a"], ("a",)),
        ("auto", ("text",)),
    ],
)
def test_columns_are_asked_for_with_commas_or_as_a_list_and_a_whole_name_comes_first(
    asked: Any, found: tuple[str, ...]
) -> None:
    config = settings_from({"data": {"text_column": asked}}, "here").data
    assert DataConfig(text_column=asked) == config
    assert find_text(["text", "a", "b", "c, d"], config.text_column, "x.csv") == found


@pytest.mark.parametrize("value", [3, ["a", 3], {"a": 1}, True, None])
def test_what_is_no_name_is_refused(value: Any) -> None:
    message = refusal(settings_from, {"data": {"text_column": value}}, "here")
    reason = f"{value!r} is not a text or a list of texts (quote them)."
    assert message == f"here: data.text_column: {reason}"


@pytest.mark.parametrize("value", ["", [], ["a", ""]])
def test_an_empty_name_is_refused(value: Any) -> None:
    message = refusal(settings_from, {"data": {"text_column": value}}, "here")
    assert message == "here: data.text_column: an empty name; leave it out, or name a column."


def test_a_run_remembers_its_columns_as_a_list(trained: Path) -> None:
    columns = read_run(trained).resolved.data
    assert columns.text_column == ("title", "Body, full")
    assert columns.label_column == ("gold",)
    settings = read_config(trained / "config.yaml")[0]
    assert settings.data.text_column == ("title", "Body, full")


def test_evaluate_and_predict_take_the_columns_of_the_run(
    trained: Path, pairs: Path, tmp_path: Path
) -> None:
    remembered = evaluate(trained, str(pairs))
    named = evaluate(trained, str(pairs), text_column=("title", "Body, full"), label_column="gold")
    assert remembered.values == named.values
    assert remembered.columns == "text from 'title', 'Body, full'; label from 'gold'"
    other = evaluate(trained, str(pairs), text_column="title", label_column="gold")
    assert other.columns == "text from 'title'; label from 'gold'"
    predict(trained, str(pairs), out=tmp_path / "a.csv")
    predict(trained, str(pairs), out=tmp_path / "b.csv", text_column=["title", "Body, full"])
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_a_flag_may_be_repeated(
    trained: Path, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--data.text-column", "title", "--data.text-column", "Body, full"]
    assert main(["predict", str(trained), str(pairs), *flags]) == 0
    assert capsys.readouterr().err == f"{pairs}: text from 'title', 'Body, full'\n"
    run = tmp_path / "run"
    flags += ["--data.label-column", "gold", "--model.width", "16", "--training.epochs", "1"]
    assert main(["train", str(pairs), "--out", str(run), *flags]) == 0
    line = "columns     text from 'title', 'Body, full'; label from 'gold'"
    assert line in capsys.readouterr().err
    assert read_config(run / "config.yaml")[0].data.text_column == ("title", "Body, full")


def test_pretraining_joins_several_columns(pairs: Path, tmp_path: Path) -> None:
    columns: dict[str, Any] = {"text_column": ["title", "Body, full"]}
    folder = pretrain(
        str(pairs), out=tmp_path / "run", **QUICK, **columns, validation_fraction=0.2
    ).folder
    assert read_config(folder / "config.yaml")[0].data.text_column == ("title", "Body, full")


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        (["text", "score"], "score"),
        (["text", "Score"], "Score"),
        (["text", "score", "label"], "label"),
        (["text", "score", "rating"], "rating"),
    ],
)
def test_a_score_is_the_label_if_no_column_has_a_likelier_name(
    columns: list[str], found: str
) -> None:
    assert find_labels(columns, AUTO, "a.csv") == (found,)


def test_some_of_several_columns_are_not_enough(trained: Path, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", [("an apple", "fruit")], ("Body, full", "gold"))
    expected = (
        f"{path}: no column 'title', and the run was trained on 'title', 'Body, full' together;"
        " found 'Body, full', 'gold'. Name the columns with --data.text-column."
    )
    assert refusal(predict, trained, str(path), out=tmp_path / "out.csv") == expected
    assert refusal(evaluate, trained, str(path)) == expected


def test_one_column_with_a_usual_name_replaces_a_missing_one_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert find_text(["n", "review"], ("auto",), "a.csv", ("title", "body")) == ("review",)
    assert find_text(["anything"], ("auto",), "a.csv", ("title",)) == ("anything",)
    assert find_labels(["n", "sentiment"], AUTO, "a.csv", ("gold",)) == ("sentiment",)
    assert caplog.messages == [
        "a.csv: no column 'title' or 'body', which the run was trained on; using column 'review' as"
        " the text",
        "a.csv: no column 'title', which the run was trained on; using column 'anything' as the"
        " text",
        "a.csv: no column 'gold', which the run was trained on; using column 'sentiment' as the"
        " label",
    ]


@pytest.mark.parametrize(
    ("columns", "found"), [(["n", "m"], "'n', 'm'"), (["text", "review"], "'text', 'review'")]
)
def test_a_missing_column_that_none_or_several_could_replace_is_refused(
    columns: list[str], found: str
) -> None:
    message = refusal(find_text, columns, ("auto",), "a.csv", ("body",))
    reason = f"a.csv: no column 'body', which the run was trained on; found {found}."
    assert message == f"{reason} Name one with --data.text-column."
    message = refusal(find_labels, ["label", "topic"], AUTO, "a.csv", ("gold",))
    reason = "a.csv: no column 'gold', which the run was trained on; found 'label', 'topic'."
    assert message == f"{reason} Name one with --data.label-column."


def test_an_absent_column_whose_name_has_commas_is_named_as_one() -> None:
    message = refusal(find_text, ["a", "b"], ("auto",), "a.csv", ("Review text, full",))
    reason = "no column 'Review text, full', which the run was trained on; found 'a', 'b'."
    assert message.startswith(f"a.csv: {reason}")


def test_of_many_columns_a_message_names_the_first() -> None:
    columns = [f"c{number}" for number in range(5000)]
    message = refusal(find_text, columns, ("auto",), "a.csv")
    assert message.endswith(", 'c18', 'c19' and 4,980 more. Name one with --data.text-column.")


@pytest.mark.parametrize(
    ("header", "settings"),
    [
        (("text", "label"), {"label_column": "text"}),
        (("a", "b"), {"text_column": "a,b", "label_column": "b"}),
    ],
)
def test_a_column_is_not_both_the_text_and_the_label(
    header: tuple[str, ...], settings: dict[str, str], tmp_path: Path
) -> None:
    path = write_csv(tmp_path / "a.csv", [("a plum", "fruit"), ("iron", "metal")] * 2, header)
    data = settings_from({"data": {"source": str(path), **settings}}, "settings").data
    reason = f"column {settings['label_column']!r} would be both the text and the label"
    advice = "name two different columns with --data.text-column and --data.label-column"
    expected = f"{path}: {reason}; {advice}."
    assert refusal(load_splits, data) == expected
    assert refusal(load_split, data, None) == expected


def test_the_other_splits_are_read_in_the_columns_of_train(tmp_path: Path) -> None:
    rows = [("a", "1", "x"), ("b", "2", "y")]
    write_csv(tmp_path / "train.csv", rows, ("body", "class", "topic"))
    columns = ("text", "body", "label", "class", "topic")
    write_csv(tmp_path / "test.csv", [("t", "a", "3", "1", "x")], columns)
    splits = load_splits(DataConfig(str(tmp_path)))
    assert splits["train"].text_columns == ("body",)
    assert splits["train"].label_columns == ("class",)
    assert (splits["test"].texts, splits["test"].targets) == (["a"], ["1"])


def test_an_older_run_that_remembers_a_text_with_commas_is_understood(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", [("t", "a", "b", "x")], ("text", "title", "body", "label"))
    older = settings_from({"data": {"text_column": "title,body"}}, "config.yaml").data
    assert load_split(DataConfig(str(path)), None, older).texts == ["a\nb"]


def test_the_quoting_of_a_run_holds_for_later_files_of_its_format(tmp_path: Path) -> None:
    lines = "".join(f'"{text}"\t{label}\n' for text, label in sentences(30))
    path = tmp_path / "a.tsv"
    path.write_text(f"text\tlabel\nplain\tfruit\n{lines}", encoding="utf-8")
    message = refusal(load_splits, DataConfig(str(path)))
    assert "line 3: a field begins with a quote" in message
    folder = train(str(path), out=tmp_path / "run", quoting="none", **QUICK).folder
    out = tmp_path / "out.csv"
    first_sentence = sentences(30)[0][0]
    predict(folder, str(path), out=out)
    assert second_text(out) == f'"{first_sentence}"'
    assert evaluate(folder, str(path)).values["rows"] == 31
    predict(folder, str(path), out=out, quoting="standard")
    assert second_text(out) == first_sentence
    quoted = write_csv(tmp_path / "b.csv", [("an apple, a plum", "fruit")])
    assert predict(folder, str(quoted), out=out).bad == 0


def test_the_default_asks_for_no_column() -> None:
    assert Settings().data.text_column == ("auto",)


def test_a_run_on_texts_in_memory_remembers_no_column(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    texts, labels = zip(*sentences(60), strict=True)
    fit(texts, labels, out=tmp_path / "run", **QUICK)
    assert "data" not in resolved_settings(tmp_path / "run")
    path = write_csv(tmp_path / "a.csv", [("1", "an apple", "fruit")], ("id", "review", "label"))
    caplog.clear()
    assert predict(tmp_path / "run", str(path), out=tmp_path / "out.csv").bad == 0
    assert "no column" not in caplog.text
