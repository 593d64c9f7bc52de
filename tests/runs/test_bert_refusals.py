"""A checkpoint that cannot be used is refused, and one whose head cannot be used can be trained."""

import os
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from bert_checkpoints import VOCABULARY, change_config, checkpoint, transformers
from helpers import assert_says

from selfattn_lm import TextClassifier, UserError
from selfattn_lm.cli import main
from selfattn_lm.runs import locate, read_bert


class Evil:
    def __reduce__(self) -> Any:
        return os.mkdir, ("evil",)


def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoint(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save({"a": Evil()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(
        UserError, match=r"pytorch_model\.bin: cannot be read as plain tensors \(.+\)\.$"
    ):
        read_bert(tmp_path)
    assert not (tmp_path / "evil").exists()


SUPPORTED = (
    "is not supported (supported: BertModel, BertForMaskedLM, BertForSequenceClassification, "
    "DistilBertModel, DistilBertForMaskedLM, DistilBertForSequenceClassification)"
)
ACTIVATIONS = (
    "gelu, gelu_python, relu, silu, swish, gelu_new, gelu_fast, gelu_pytorch_tanh, gelu_accurate"
)
NO_SIZE = "is missing or not a whole number above 0"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model_type": "roberta", "architectures": ["RobertaModel"]}, f"RobertaModel {SUPPORTED}"),
        ({"model_type": "t5", "architectures": None}, f"t5 {SUPPORTED}"),
        ({"architectures": ["BertForMultipleChoice"]}, f"BertForMultipleChoice {SUPPORTED}"),
        ({"architectures": "RobertaModel"}, f"RobertaModel {SUPPORTED}"),
        (
            {"model_type": None, "architectures": None, "type_vocab_size": None},
            f"no model_type {SUPPORTED}",
        ),
        (
            {"position_embedding_type": "relative_key"},
            "position_embedding_type 'relative_key' is not supported (supported: 'absolute')",
        ),
        ({"is_decoder": True}, "a decoder is not supported (supported: encoders)"),
        ({"hidden_size": None}, f"hidden_size {NO_SIZE}"),
        ({"num_attention_heads": True}, f"num_attention_heads {NO_SIZE}"),
        ({"num_hidden_layers": 0}, f"num_hidden_layers {NO_SIZE}"),
        ({"num_attention_heads": 5}, "num_attention_heads 5 does not divide hidden_size 32"),
        ({"layer_norm_eps": "small"}, "layer_norm_eps 'small' is not a number"),
        ({"hidden_dropout_prob": "0.1"}, "hidden_dropout_prob '0.1' is not a number"),
        ({"type_vocab_size": -1}, "type_vocab_size -1 is not a whole number"),
        ({"hidden_act": "mish"}, f"hidden_act 'mish' is not supported (supported: {ACTIVATIONS})"),
    ],
)
def test_an_architecture_that_is_not_supported_is_refused_in_a_sentence(
    changes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    checkpoint(tmp_path)
    change_config(tmp_path, **changes)
    with pytest.raises(UserError) as refused:
        read_bert(tmp_path)
    assert str(refused.value) == f"{tmp_path / 'config.json'}: {reason}."


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"num_hidden_layers": 3},
            "the weights lack bert.encoder.layer.2.attention.self.query.weight, "
            "which its config.json asks for",
        ),
        (
            {"intermediate_size": 64},
            "bert.encoder.layer.0.intermediate.dense.weight is (48, 32) "
            "where config.json asks for (64, 32)",
        ),
        (
            {"vocab_size": 20},
            f"the tokenizer has {len(VOCABULARY)} tokens, but the model 20; "
            "they do not belong together",
        ),
    ],
)
def test_files_that_do_not_fit_each_other_are_refused_in_a_sentence(
    changes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    checkpoint(tmp_path)
    change_config(tmp_path, **changes)
    with pytest.raises(UserError) as refused:
        read_bert(tmp_path)
    assert str(refused.value) == f"{tmp_path}: {reason}."


ONE_LABEL = "(supported: 'single_label_classification')"
UNNUMBERED = "id2label holds no labels by their number, such as {'0': 'no', '1': 'yes'}"
HEADS: list[tuple[dict[str, Any], str]] = [
    ({"problem_type": "regression"}, f"problem_type 'regression' is not supported {ONE_LABEL}"),
    (
        {"problem_type": "multi_label_classification"},
        f"problem_type 'multi_label_classification' is not supported {ONE_LABEL}",
    ),
    (
        {"id2label": {"0": "a", "1": "b", "2": "a"}},
        "id2label has the label 'a' twice; give each number its own label",
    ),
    (
        {"id2label": {"0": 1, "1": "1", "2": 2}},
        "id2label has the label '1' twice; give each number its own label",
    ),
    (
        {"id2label": {"0": "a", "2": "b", "3": "c"}},
        "id2label numbers its labels 0, 2, 3; they must be 0 to 2, each once",
    ),
    (
        {"id2label": {"1": "a", "2": "b", "3": "c"}},
        "id2label numbers its labels 1, 2, 3; they must be 0 to 2, each once",
    ),
    (
        {"id2label": {"0": "a", "00": "b", "1": "c"}},
        "id2label numbers its labels 0, 0, 1; they must be 0 to 2, each once",
    ),
    ({"id2label": {"a": "0", "b": "1", "c": "2"}}, UNNUMBERED),
    ({"id2label": ["a", "b", "c"]}, UNNUMBERED),
    ({"id2label": {"0": "a", "1": "b"}}, "it names 2 labels, but classifier.weight has 3 rows"),
    ({"id2label": None, "num_labels": 4}, "it names 4 labels, but classifier.weight has 3 rows"),
    ({"id2label": None, "num_labels": "three"}, "num_labels 'three' is not a whole number above 0"),
]


@pytest.mark.parametrize(("changes", "reason"), HEADS)
def test_a_head_that_cannot_predict_labels_is_refused_and_its_encoder_can_be_trained(
    changes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    checkpoint(tmp_path, "BertForSequenceClassification")
    change_config(tmp_path, **changes)
    with pytest.raises(UserError) as refused:
        TextClassifier.load(tmp_path)
    advice = f"`selfattn train DATA --init {tmp_path}` gives it a new head"
    assert str(refused.value) == f"{tmp_path / 'config.json'}: {reason}; {advice}."
    run = read_bert(tmp_path)
    assert run.labels == []
    assert run.head_problem == f"{tmp_path / 'config.json'}: {reason}."


def test_a_model_with_one_output_is_refused_and_its_encoder_can_be_trained(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "model", tmp_path / "run"
    checkpoint(folder, "BertForSequenceClassification", labels=1)
    reason = "the model has one output, so it predicts a number and no labels"
    advice = f"`selfattn train DATA --init {folder}` gives it a new head"
    message = f"selfattn: {folder / 'config.json'}: {reason}; {advice}."
    predict = ["predict", str(folder), "--text", "the apple"]
    evaluate = ["evaluate", str(folder), str(data)]
    for command in (predict, evaluate):
        assert main(command) == 2
        assert capsys.readouterr().err.splitlines()[-1] == message
    flags = ["--init", str(folder), "--out", str(out), "--training.epochs", "1"]
    assert main(["train", str(data), *flags]) == 0
    new_head = "the model to start from has no labels; using a new head"
    assert new_head in capsys.readouterr().err
    assert TextClassifier.load(out).labels == ["fruit", "metal", "water"]


@pytest.mark.parametrize("family", ["Bert", "DistilBert"])
@pytest.mark.parametrize("problem_type", [None, "single_label_classification"])
def test_labels_without_names_are_called_as_transformers_calls_them(
    problem_type: str | None, family: str, tmp_path: Path
) -> None:
    checkpoint(tmp_path, f"{family}ForSequenceClassification")
    change_config(tmp_path, id2label=None, label2id=None, num_labels=3, problem_type=problem_type)
    theirs = transformers.AutoConfig.from_pretrained(tmp_path).id2label
    assert (
        TextClassifier.load(tmp_path).labels
        == list(theirs.values())
        == ["LABEL_0", "LABEL_1", "LABEL_2"]
    )


def test_without_names_or_number_there_is_a_label_for_each_row_of_the_head(tmp_path: Path) -> None:
    checkpoint(tmp_path, "BertForSequenceClassification", labels=4)
    change_config(tmp_path, id2label=None, label2id=None)
    assert TextClassifier.load(tmp_path).labels == ["LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3"]


def test_labels_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    checkpoint(tmp_path, "BertForSequenceClassification", labels=11)
    id2label = {}
    for i in (10, 1, 0, 9, 2, 3, 5, 4, 6, 8, 7):
        id2label[str(i)] = f"label {i}"
    change_config(tmp_path, id2label=id2label)
    assert TextClassifier.load(tmp_path).labels == [f"label {i}" for i in range(11)]


def test_a_classifier_without_its_head_is_refused(tmp_path: Path) -> None:
    checkpoint(tmp_path, "BertModel")
    change_config(tmp_path, architectures=["BertForSequenceClassification"])
    with pytest.raises(UserError) as refused:
        TextClassifier.load(tmp_path)
    advice = f"`selfattn train DATA --init {tmp_path}` gives it a new head"
    reason = "the weights lack classifier.weight, so it cannot predict labels"
    assert str(refused.value) == f"{tmp_path}: {reason}; {advice}."


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        (
            "model.safetensors",
            None,
            ": no model.safetensors and no pytorch_model.bin, "
            "so there are no weights to start from.",
        ),
        (
            "vocab.txt",
            None,
            ": neither tokenizer.json nor vocab.txt is there; download the tokenizer too.",
        ),
        (
            "vocab.txt",
            "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n",
            ": the tokenizer has no token [MASK], so it is not BERT's.",
        ),
        ("config.json", "[1]", "/config.json: holds no JSON object."),
        ("config.json", "{", "/config.json: cannot be read as JSON (…)."),
        (
            "model.safetensors.index.json",
            '{"weight_map": {"a": "../a.safetensors"}}',
            ": ../a.safetensors, which model.safetensors.index.json names, is missing.",
        ),
    ],
)
def test_a_file_that_is_missing_or_broken_is_named(
    file: str, text: str | None, message: str, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    checkpoint(folder)
    (tmp_path / "a.safetensors").touch()
    (folder / file).unlink(missing_ok=True)
    if text is not None:
        (folder / file).write_text(text)
    with pytest.raises(UserError) as refused:
        read_bert(folder)
    assert_says(str(refused.value), f"{folder}{message}")


def test_a_model_on_the_hub_is_found_in_the_local_cache_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    place = tmp_path / "cache" / "models--someone--tiny"
    checkpoint(place / "snapshots" / "abc")
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("abc")
    assert read_bert(locate("someone/tiny")).settings.model.width == 32
    with pytest.raises(UserError) as refused:
        locate("someone/other")
    message = (
        "someone/other: no folder of that name, and the hub could not be reached (…); "
        "check the connection, or download it and name its folder."
    )
    assert_says(str(refused.value), message)
    (tmp_path / "someone").mkdir()
    assert locate("someone/other") == Path("someone/other")  # which may be a misspelled path
