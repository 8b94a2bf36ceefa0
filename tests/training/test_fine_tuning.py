"""Fitting a trained model to other symbols and labels, and keeping parts of it from learning."""

import copy

import pytest
import torch
from transformers import Seq2SeqTrainingArguments, set_seed

from aural import (
    LasForConditionalGeneration,
    SpectrogramTransformerForAudioClassification,
    SpectrogramTransformerForAudioFrameClassification,
    SpectrogramTransformerForCTC,
    SpectrogramTransformerModel,
    train_tokenizer,
)
from aural.training.collator import SpeechCollator
from aural.training.fine_tuning import adapt_labels, adapt_vocabulary, freezable, freeze
from aural.training.layer_decay import layer_decay_groups
from aural.training.sound_collator import SoundCollator
from aural.training.trainer import AuralTrainer
from tests.tiny import MELS, VOCABULARY, clips, tiny_las
from tests.tiny_spectrogram import spectrograms, tiny_spectrogram, tiny_writer

SPECIAL = ["<pad>", "<bos>", "<eos>", "<unk>"]
OLD = [*SPECIAL, *"abcde"]  # the nine symbols of a tiny LAS


class Symbols:
    """The part of a tokenizer that is asked for: symbols in a given order."""

    def __init__(self, symbols):
        self.symbols = list(symbols)

    def get_vocab(self):
        return {symbol: index for index, symbol in enumerate(self.symbols)}


def inputs(targets=((4, 5, 5, 2), (8, 2, -100, -100))):
    features, mask = clips([24, 13])
    return {"input_features": features, "attention_mask": mask, "labels": torch.tensor(targets)}


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def reordered(model, symbols):
    """The model with its symbols in another order, and `order`: the old id of every new one."""
    other = copy.deepcopy(model)
    adapt_vocabulary(other, Symbols(OLD), Symbols(symbols))
    return other, torch.tensor([OLD.index(symbol) for symbol in symbols])


@pytest.mark.parametrize("ctc_weight", [0.0, 0.4])
def test_another_order_of_the_symbols_permutes_the_logits(ctc_weight):
    model = tiny_las(ctc_weight=ctc_weight)
    symbols = ["e", "<eos>", "a", "<pad>", "d", "<unk>", "c", "<bos>", "b"]  # the special ones move too
    other, order = reordered(model, symbols)
    ours = inputs()
    new_id = order.argsort()
    labels = torch.where(ours["labels"] < 0, -100, new_id[ours["labels"].clamp(min=0)])
    with torch.no_grad():
        one, two = model(**ours), other(**{**ours, "labels": labels})
        states = model.model.listener(ours["input_features"]).last_hidden_state
    torch.testing.assert_close(two.logits, one.logits[..., order], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(two.loss, one.loss)
    if ctc_weight:
        torch.testing.assert_close(other.ctc_head(states), model.ctc_head(states)[..., order])
    written = [new_id[text[: text.tolist().index(2) + 1]].tolist() for text in model.generate(ours["input_features"])]
    assert written == [text[: text.tolist().index(1) + 1].tolist() for text in other.generate(ours["input_features"])]
    ids = {name: getattr(other.config, f"{name}_token_id") for name in ("pad", "bos", "eos", "unk", "decoder_start")}
    assert ids == {"pad": 3, "bos": 7, "eos": 1, "unk": 5, "decoder_start": 7}
    assert other.generation_config.eos_token_id == 1
    assert other.get_input_embeddings().padding_idx == 3


@pytest.mark.parametrize("kind", ["ctc", "writer"])
def test_symbols_of_patches_that_write_move_with_their_logits(kind):
    ctc = kind == "ctc"
    model = (
        tiny_spectrogram(SpectrogramTransformerForCTC, vocab_size=9, pooling="mean")
        if ctc
        else tiny_writer(ctc_weight=0.4)
    )
    symbols = ["<pad>", "<bos>", "<eos>", "<unk>", "e", "b", "z", "a"]  # without c and d, with z
    other = copy.deepcopy(model)
    adaptation = adapt_vocabulary(other, Symbols(OLD), Symbols(symbols))
    assert adaptation.new == ("z",) and adaptation.dropped == ("c", "d")
    known = [place for place, symbol in enumerate(symbols) if symbol != "z"]
    order = torch.tensor([OLD.index(symbols[place]) for place in known])
    features, mask = spectrograms([40, 30])
    labels = torch.tensor([[4, 5, 2], [5, 2, -100]])  # of the old symbols: a b, b
    moved = torch.tensor([[7, 5, 2], [5, 2, -100]])
    with torch.no_grad():
        one, two = model(features, mask, labels=labels), other(features, mask, labels=moved)
        torch.testing.assert_close(two.logits[..., known], one.logits[..., order], rtol=1e-5, atol=1e-5)
        if not ctc:
            heard = model.listen(features, mask)
            torch.testing.assert_close(
                other._ctc_logits(heard)[..., known], model._ctc_logits(heard)[..., order], rtol=1e-5, atol=1e-5
            )
    assert other.config.vocab_size == two.logits.shape[-1] == 8


def test_symbols_that_both_know_keep_their_weights():
    model = tiny_las(ctc_weight=0.3)
    before = weights(model)
    adaptation = adapt_vocabulary(model, train_tokenizer(["abcde"]), train_tokenizer(["bez"]))
    assert adaptation.kept == (*SPECIAL, "b", "e")
    assert adaptation.new == ("z",)
    assert adaptation.dropped == ("a", "c", "d")
    assert str(adaptation) == (
        "6 ('<pad>' '<bos>' '<eos>' '<unk>' 'b' 'e') kept, 1 ('z') new, 3 ('a' 'c' 'd') dropped"
    )
    old_ids = [0, 1, 2, 3, 5, 8]
    for name in ("model.speller.embed_tokens.weight", "lm_head.weight", "lm_head.bias", "ctc_head.weight"):
        after = model.state_dict()[name]
        assert len(after) == model.config.vocab_size == 7
        assert torch.equal(after[:6], before[name][old_ids])
        assert after[6].abs().max() < 1 <= before[name].abs().max()  # drawn with 0.06, or a bias of 0; not with 1
    others = {name: value for name, value in model.state_dict().items() if len(value) != 7}
    assert all(torch.equal(value, before[name]) for name, value in others.items())
    assert model(**inputs(((4, 6, 2), (5, 2, -100)))).logits.shape[-1] == 7


def test_new_symbols_are_drawn_as_in_a_new_model():
    model = tiny_las(initializer_range=0.3)
    many = "".join(chr(code) for code in range(0x400, 0x400 + 300))
    adapt_vocabulary(model, train_tokenizer(["abcde"]), train_tokenizer([many]))
    for head in (model.get_input_embeddings(), model.lm_head):
        assert head.weight[4:].std().item() == pytest.approx(0.3, rel=0.1)
        assert abs(head.weight[4:].mean().item()) < 0.03
    assert model.lm_head.bias[4:].abs().max() == 0 < model.lm_head.bias[:4].abs().min()
    assert model.lm_head.out_features == model.get_input_embeddings().num_embeddings == 304


def test_an_adapted_model_is_saved_and_loaded(tmp_path):
    model = tiny_las(ctc_weight=0.3)
    adapt_vocabulary(model, Symbols(OLD), Symbols([*SPECIAL, *"exb"]))
    model.save_pretrained(tmp_path)
    loaded = LasForConditionalGeneration.from_pretrained(tmp_path)
    assert loaded.config.to_diff_dict() == {**model.config.to_diff_dict(), "architectures": [type(model).__name__]}
    assert loaded.generation_config.to_dict() == model.generation_config.to_dict()
    batch = inputs(((4, 6, 2), (5, 2, -100)))
    with torch.no_grad():
        assert torch.equal(loaded(**batch).logits, model(**batch).logits)


def test_weights_that_are_one_stay_one():
    model = tiny_las(speller_output_size=7)  # as wide as the embedding
    model.lm_head.weight = model.get_input_embeddings().weight
    adapt_vocabulary(model, Symbols(OLD), Symbols([*SPECIAL, "x", "c"]))
    assert model.lm_head.weight is model.get_input_embeddings().weight
    assert model.lm_head.weight.shape == (6, 7)


def test_frozen_heads_stay_frozen():
    model = tiny_las()
    model.get_input_embeddings().requires_grad_(False)
    adapt_vocabulary(model, Symbols(OLD), Symbols([*SPECIAL, "c"]))
    assert not model.get_input_embeddings().weight.requires_grad
    assert model.lm_head.weight.requires_grad


@pytest.mark.parametrize(
    "old, new, said",
    [
        (OLD[:-1], OLD, "old_tokenizer has 8 symbols but the model's vocab_size is 9"),
        (OLD, OLD[1:], "new_tokenizer lacks '<pad>', the model's pad_token_id"),
        (OLD, [*OLD[:2], "a"], "new_tokenizer lacks '<eos>', the model's eos_token_id"),
    ],
)
def test_tokenizers_that_do_not_fit_change_nothing(old, new, said):
    model = tiny_las()
    before, config = weights(model), model.config.to_dict()
    with pytest.raises(ValueError, match=said):
        adapt_vocabulary(model, Symbols(old), Symbols(new))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.config.to_dict() == config


def test_ids_with_gaps_are_refused():
    gaps = Symbols(OLD)
    gaps.get_vocab = lambda: {"<pad>": 0, "a": 2}
    with pytest.raises(ValueError, match="new_tokenizer has 2 symbols, whose ids are not 0 to 1"):
        adapt_vocabulary(tiny_las(), Symbols(OLD), gaps)


def test_what_writes_nothing_has_no_vocabulary_and_what_writes_has_no_labels():
    with pytest.raises(TypeError, match="AudioClassification, which writes no text"):
        adapt_vocabulary(tiny_spectrogram(), Symbols(OLD), Symbols(OLD))
    for model in (tiny_las(), tiny_spectrogram(SpectrogramTransformerModel)):
        with pytest.raises(TypeError, match=f"{type(model).__name__}, which has no head for labels"):
            adapt_labels(model, ["a"])


HEADS = [SpectrogramTransformerForAudioClassification, SpectrogramTransformerForAudioFrameClassification]


def named_tagger(kind):
    model = tiny_spectrogram(kind)
    model.config.id2label = {0: "bell", 1: "drum", 2: "horn"}
    model.config.label2id = {"bell": 0, "drum": 1, "horn": 2}
    return model


@pytest.mark.parametrize("kind", HEADS)
def test_labels_that_both_know_keep_their_weights(kind, tmp_path):
    model = named_tagger(kind)
    features, mask = spectrograms([30, 20])
    with torch.no_grad():
        before = model(features, mask).logits
    names = ["horn", "wind", "bell", "rain"]
    adaptation = adapt_labels(model, names, multi_label=True)
    assert (adaptation.kept, adaptation.new, adaptation.dropped) == (("horn", "bell"), ("wind", "rain"), ("drum",))
    with torch.no_grad():
        after = model(features, mask).logits
    torch.testing.assert_close(after[..., [0, 2]], before[..., [2, 0]])
    assert model.classifier.dense.bias[[1, 3]].tolist() == [0, 0]
    model.save_pretrained(tmp_path)
    for one in (model, kind.from_pretrained(tmp_path)):
        assert one.config.id2label == dict(enumerate(names))
        assert one.config.label2id == {"horn": 0, "wind": 1, "bell": 2, "rain": 3}
        assert one.config.problem_type == "multi_label_classification"
        assert one.num_labels == one.config.num_labels == one.classifier.dense.out_features == 4
        with torch.no_grad():
            assert torch.equal(one(features, mask).logits, after)
    labels = torch.tensor([[1.0, 0, 0, 1], [0, 1, 0, 0]])
    assert model(features, mask, labels=labels).loss.isfinite()


def test_one_label_of_several_is_the_default():
    model = named_tagger(HEADS[0])
    adapt_labels(model, ["drum", "bell"])
    assert model.config.problem_type == "single_label_classification"
    features, mask = spectrograms([30, 20])
    output = model(features, mask, labels=torch.tensor([1, 0]))
    expected = torch.nn.functional.cross_entropy(output.logits, torch.tensor([1, 0]))
    torch.testing.assert_close(output.loss, expected)


def test_labels_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="multi_label=False, but a classifier of moments"):
        adapt_labels(named_tagger(HEADS[1]), ["a", "b"])
    with pytest.raises(ValueError, match=r"labels\[1\] is 'a', as labels\[0\] is"):
        adapt_labels(named_tagger(HEADS[0]), ["a", "a"])


def size(module):
    return sum(parameter.numel() for parameter in module.parameters())


def frozen_names(model):
    return {name for name, parameter in model.named_parameters() if not parameter.requires_grad}


def names_below(model, *prefixes):
    return {name for name, _ in model.named_parameters() if name.startswith(prefixes)}


@pytest.mark.parametrize(
    "parts, prefixes",
    [
        ("listener", ["model.listener."]),
        ("encoder", ["model.listener."]),
        (["model.listener"], ["model.listener."]),
        (["layers.0"], ["model.listener.layers.0."]),
        (["listener.layers.0-1"], ["model.listener.layers."]),
        (["speller.attention", "lm_head"], ["model.speller.attention.", "lm_head."]),
        (["speller.cells.1-1", "speller"], ["model.speller."]),
    ],
)
def test_parts_of_a_las_are_frozen_by_name(parts, prefixes):
    model = tiny_las()
    count = freeze(model, parts)
    assert frozen_names(model) == names_below(model, *prefixes)
    assert count == sum(size(model.get_submodule(prefix[:-1])) for prefix in prefixes)


@pytest.mark.parametrize(
    "parts, prefixes",
    [
        ("encoder", ["spectrogram_transformer."]),
        ("embeddings", ["spectrogram_transformer.embeddings."]),
        (["layers.0-1"], ["spectrogram_transformer.layers."]),
        (["layers.1", "layernorm"], ["spectrogram_transformer.layers.1.", "spectrogram_transformer.layernorm."]),
    ],
)
def test_parts_of_a_transformer_are_frozen_by_name(parts, prefixes):
    model = tiny_spectrogram()
    freeze(model, parts)
    assert frozen_names(model) == names_below(model, *prefixes)  # and not the head's own layernorm


def test_what_can_be_frozen_is_listed_and_all_of_it_can():
    las = "encoder listener listener.layers.0-1 speller speller.cells.0-1 output_mlp lm_head ctc_head"
    assert freezable(tiny_las(ctc_weight=0.5)) == las.split()
    assert freezable(tiny_spectrogram()) == ["encoder", "embeddings", "layers.0-1", "layernorm", "classifier"]
    for make in (tiny_las, tiny_spectrogram):
        for part in freezable(make()):
            assert freeze(make(), part) > 0


@pytest.mark.parametrize(
    "parts, said",
    [
        ("listner", "freeze='listner' names no part with weights; did you mean 'listener'\\? parts are encoder, "),
        (["speller", "layers.1-2"], "freeze='layers.1-2' names no part .* listener.layers.0-1"),
        ("layers.1-0", "from the lower number to the higher"),
        ("", "freeze='' names no part"),
        ("listener.dropout", "no part with weights"),
        (["listener", "speller", "output_mlp", "lm_head"], "leaves nothing to learn"),
    ],
)
def test_what_cannot_be_frozen_is_refused_and_nothing_is(parts, said):
    model = tiny_las()
    with pytest.raises(ValueError, match=said):
        freeze(model, parts)
    assert not frozen_names(model)


def trainer_of(model, collator, items, folder, layer_decay=None, **options):
    arguments = {
        "max_steps": 2,
        "per_device_train_batch_size": 2,
        "learning_rate": 0.01,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "remove_unused_columns": False,
        **options,
    }
    arguments = Seq2SeqTrainingArguments(output_dir=str(folder), **arguments)
    return AuralTrainer(model, arguments, data_collator=collator, train_dataset=items, layer_decay=layer_decay)


def speech_items():
    features, _ = clips([20, 20, 20, 20])
    return [{"input_features": row, "labels": [4 + index, 5, 2]} for index, row in enumerate(features)]


def sound_items():
    features, _ = spectrograms([20, 20, 20, 20])
    return [{"input_features": row, "labels": index % 3} for index, row in enumerate(features)]


def test_training_leaves_a_frozen_listener_alone(tmp_path):
    model = tiny_las()
    freeze(model, "listener")
    before = weights(model)
    trainer = trainer_of(model, SpeechCollator(MELS, VOCABULARY), speech_items(), tmp_path)
    trainer.train()
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == set(before) - names_below(model, "model.listener.")
    optimized = {id(one) for group in trainer.optimizer.param_groups for one in group["params"]}
    assert optimized == {id(parameter) for parameter in model.parameters() if parameter.requires_grad}


@pytest.mark.parametrize("checkpointing", [False, True])
def test_frozen_layers_go_with_layer_decay_and_gradient_checkpointing(checkpointing, tmp_path):
    model = tiny_spectrogram(scale=0.2)
    freeze(model, ["embeddings", "layers.0"])
    learning = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    groups = layer_decay_groups(model, 1.0, 0.5)
    assert {id(parameter) for group in groups for parameter in group["params"]} == learning
    assert {group["lr"] for group in groups} == {1.0, 0.5}  # layer 1 of two, and what follows
    before = weights(model)
    options = {"gradient_checkpointing": checkpointing, "layer_decay": 0.5}
    trainer_of(model, SoundCollator(3), sound_items(), tmp_path, **options).train()
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    still = names_below(model, "spectrogram_transformer.embeddings.", "spectrogram_transformer.layers.0.")
    assert moved | still == set(before)
    # adding the same to all keys' scores changes no weight of attention: that bias has a gradient of about 0
    assert not moved & still


def test_gradients_are_those_of_a_model_without_checkpointing():
    gradients = []
    features, mask = spectrograms([20, 16])
    for checkpointing in (False, True):
        model = tiny_spectrogram(scale=0.2).train()
        freeze(model, ["embeddings", "layers.0"])
        if checkpointing:
            model.gradient_checkpointing_enable()
        model(features, mask, labels=torch.tensor([0, 2])).loss.backward()
        gradients.append({name: one.grad for name, one in model.named_parameters() if one.grad is not None})
    assert gradients[0].keys() == gradients[1].keys() and gradients[0]
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient)


def test_dropout_of_a_frozen_listener_goes_on_unless_it_is_set_to_nothing():
    features, mask = clips([24, 20])
    for dropout in (0.5, 0.0):
        model = tiny_las(listener_dropout=dropout).train()
        freeze(model, "listener")
        set_seed(0)
        heard = [model.model.listener(features, mask).last_hidden_state for _ in range(2)]
        assert torch.equal(*heard) == (dropout == 0.0)
        assert not heard[0].requires_grad
