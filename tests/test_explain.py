"""What `aural.explain` shows is what the model computes: each array against the model's own answer, or by hand."""

import math

import numpy as np
import pytest
import torch

from aural import (
    AuralProcessor,
    LogMelFeatureExtractor,
    SpectrogramTransformerForAudioFrameClassification,
    explain,
    explain_source,
    train_tokenizer,
)
from aural.explain_calls import watched
from aural.processing.log_mel import mel_edges
from tests.tiny import tiny_las
from tests.tiny_spectrogram import LABELS, tiny_spectrogram, tiny_writer
from tests.whole import save_folder, save_tagger, wave

SOUND = wave(0.5)
SIX = AuralProcessor(LogMelFeatureExtractor(num_mel_bins=6), train_tokenizer(["abcd "]))
EIGHT = LogMelFeatureExtractor(num_mel_bins=8)
WORDS = AuralProcessor(EIGHT, train_tokenizer(["a dog then two cats"], "word"))
FRAMES = SpectrogramTransformerForAudioFrameClassification


def features(extractor):
    return extractor(SOUND, sampling_rate=16_000, return_tensors="pt")["input_features"]


def writer():
    return tiny_writer(seed=3, vocab_size=len(WORDS.tokenizer))


def softmax_of(steps):
    """softmax(Q Kᵀ / √d + mask), written out."""
    scores = np.einsum("hqd,hkd->hqk", steps.q, steps.k) / math.sqrt(steps.q.shape[-1])
    scores = scores + np.where(steps.mask, 0.0, -1e30)
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def check_pipeline(steps):
    """The shown arrays follow from each other as the formula says."""
    np.testing.assert_allclose(softmax_of(steps), steps.weights, atol=1e-5)
    np.testing.assert_allclose(steps.weights.sum(-1), 1, atol=1e-5)
    assert not steps.weights[:, ~steps.mask].any()
    np.testing.assert_allclose(steps.weights @ steps.v, steps.context, atol=1e-5)
    output = np.concatenate(list(steps.context), axis=-1)  # heads side by side
    if steps.projection is not None:
        output = output @ steps.projection.T + steps.bias
    np.testing.assert_allclose(output, steps.output, atol=2e-5)
    np.testing.assert_array_equal(np.isneginf(steps.masked_scores[0]), ~steps.mask)


@pytest.mark.parametrize("position", ["rotary", "joint"])
def test_self_attention_is_the_models_own(position):
    model = tiny_spectrogram(position_kind=position)
    shown = explain.attention(model, SOUND, EIGHT, layer=1)
    steps, inputs = shown.steps, features(EIGHT)
    check_pipeline(steps)
    assert steps.name == "layers.1" and steps.rotary == (position == "rotary")
    maps = model.attention_maps(inputs)["layers.1"][0].numpy()
    real = steps.mask[0]  # the clip's own keys: it runs beside a longer one
    assert real.sum() == maps.shape[-1] < len(real) and (steps.mask == real).all()
    np.testing.assert_allclose(steps.weights[:, :, real], maps, atol=1e-5)
    attention = model.spectrogram_transformer.layers[1].attention
    with torch.no_grad(), watched({"whole": attention}) as calls:
        model(inputs)
    np.testing.assert_allclose(steps.output, calls["whole"][0].output[0][0], atol=1e-5)
    assert steps.keys[:2] == ("class token 1", "class token 2") and np.isnan(steps.key_boxes[:2]).all()
    # Patches of 6 frames, one every 3; 4 mels, every 2. The first after the class tokens, and the one at its right.
    np.testing.assert_allclose(steps.key_boxes[2:4], [[0, 0.06, 0, 4], [0.03, 0.09, 0, 4]])


@pytest.mark.parametrize("layer", ["decoder.1.cross", "decoder.0.self"])
def test_attention_of_a_text_decoder_is_the_models_own(layer):
    model = writer()
    steps = explain.attention(model, SOUND, WORDS, layer=layer).steps
    check_pipeline(steps)
    labels = model.generate(features(EIGHT))[:, 1:]
    maps = model.attention_maps(features(EIGHT), layers=[layer], labels=labels)[layer][0].numpy()
    real = steps.mask.any(0)
    np.testing.assert_allclose(steps.weights[:, :, real], maps[:, : len(steps.queries)], atol=1e-5)
    tokens = WORDS.tokenizer.convert_ids_to_tokens(labels[0].tolist())
    if layer == "decoder.0.self":
        np.testing.assert_array_equal(steps.mask, np.tri(len(steps.queries), dtype=bool))  # none sees the future
        assert steps.queries[0] == "<bos>" and steps.queries == steps.keys
    else:
        assert steps.queries[0] == tokens[0] and real.sum() < len(real)


@pytest.mark.parametrize("kind", ["dot", "multihead"])
def test_attention_of_a_speller_is_the_models_own(kind):
    model = tiny_las(attention_kind=kind, attention_heads=2 if kind == "multihead" else 1)
    steps = explain.attention(model, SOUND, SIX).steps
    check_pipeline(steps)
    ids = model.generate(features(SIX.feature_extractor))[:, 1:]
    inputs = model.prepare_decoder_input_ids_from_labels(ids)
    with torch.no_grad():
        outputs = model(
            features(SIX.feature_extractor), decoder_input_ids=inputs, output_attentions=True, use_cache=False
        )
        states = model.model(features(SIX.feature_extractor), decoder_input_ids=inputs, use_cache=False)
    real, count = steps.mask[0], len(steps.queries)
    np.testing.assert_allclose(steps.weights[:, :, real], outputs.cross_attentions[0][0, :, :count], atol=1e-5)
    contexts = states.last_hidden_state[0, :count, model.config.speller_hidden_size :]
    np.testing.assert_allclose(steps.output, contexts, atol=1e-4, rtol=1e-5)  # weights of a standard deviation of 1
    np.testing.assert_allclose(steps.key_boxes[1], [0.04, 0.08, 0, 6])  # four frames of 10 ms each


def test_keys_of_a_speller_with_memory_slots_are_slots():
    steps = explain.attention(tiny_las(attention_kind="dot", memory_slots=3), SOUND, SIX).steps
    check_pipeline(steps)
    assert steps.keys == ("slot 1", "slot 2", "slot 3") and steps.mask.all() and not steps.masked


def test_the_listener_halves_time_and_doubles_seconds():
    model = tiny_las(attention_kind="location")
    steps = explain.las(model, SOUND, SIX).steps
    frames = features(SIX.feature_extractor).shape[1]
    assert [len(layer.states) for layer in steps.layers] == [
        math.ceil(frames / 2),
        math.ceil(math.ceil(frames / 2) / 2),
    ]
    assert [layer.seconds for layer in steps.layers] == [0.02, 0.04]
    assert [layer.reduction for layer in steps.layers] == [2, 2]
    np.testing.assert_array_equal(steps.sound.features, features(SIX.feature_extractor)[0])


def test_what_a_las_shows_is_what_it_computes():
    model = tiny_las(attention_kind="location", seed=1)
    steps = explain.las(model, SOUND, SIX, query=0).steps
    inputs = features(SIX.feature_extractor)
    ids = model.generate(inputs)[:, 1:]
    decoder = model.prepare_decoder_input_ids_from_labels(ids)
    with torch.no_grad():
        outputs = model(
            inputs, decoder_input_ids=decoder, output_attentions=True, output_hidden_states=True, use_cache=False
        )
    count = len(steps.tokens)
    np.testing.assert_allclose(steps.probabilities, outputs.logits[0, :count].softmax(-1), atol=1e-6)
    np.testing.assert_allclose(steps.alignment, outputs.cross_attentions[0][0, 0, :count], atol=1e-6)
    np.testing.assert_allclose(steps.layers[-1].states, outputs.encoder_last_hidden_state[0], atol=1e-6)
    np.testing.assert_allclose(steps.alignment @ steps.layers[-1].states, steps.contexts, atol=1e-5)
    np.testing.assert_allclose(steps.speller, outputs.decoder_hidden_states[-1][0, :count], atol=1e-6)
    assert steps.text == SIX.batch_decode(ids)[0]
    heard = int(steps.alignment[0].argmax())
    assert steps.heard == heard
    frames, first, last = steps.path  # a state of the last layer, two of the first, four frames
    assert last == (heard, heard + 1) and first == (2 * heard, min(2 * heard + 2, len(steps.layers[0].states)))
    assert frames == (4 * heard, min(4 * heard + 4, inputs.shape[1]))


@pytest.mark.parametrize("kind", ["none", "slots"])
def test_a_las_without_frames_to_attend_to_is_drawn_too(kind):
    options = {"attention_kind": "none"} if kind == "none" else {"attention_kind": "dot", "memory_slots": 3}
    shown = explain.las(tiny_las(**options), SOUND, SIX)
    states = 1 if kind == "none" else len(shown.steps.layers[-1].states)
    assert shown.steps.alignment.shape[1] == states
    np.testing.assert_allclose(shown.steps.alignment.sum(1), 1, atol=1e-5)
    assert shown._repr_png_().startswith(b"\x89PNG")


def test_patches_are_slices_of_the_features_and_embeddings_their_products():
    model = tiny_spectrogram(seed=2)
    steps, image = explain.patches(model, SOUND, EIGHT).steps, features(EIGHT)[0].numpy().T
    columns = (image.shape[1] - 6) // 3 + 1
    assert (steps.rows, steps.columns) == (3, columns) and len(steps.patches) == 3 * columns
    projection = model.spectrogram_transformer.embeddings.patch_projection
    weight, bias = projection.weight.detach().numpy().reshape(16, -1), projection.bias.detach().numpy()
    for row in range(3):
        for column in range(columns):
            place = row * columns + column
            cut = image[2 * row : 2 * row + 4, 3 * column : 3 * column + 6]
            np.testing.assert_array_equal(steps.patches[place], cut)
            np.testing.assert_allclose(steps.embeddings[place], weight @ cut.ravel() + bias, atol=1e-5)
    assert steps.query == steps.patches.mean((1, 2)).argmax() == steps.shown[0]
    assert len(set(steps.shown)) == 4


def test_norms_maps_and_scores_are_the_models_own():
    model = tiny_spectrogram(FRAMES, seed=2, pooling="mean")
    steps, inputs = explain.patches(model, SOUND, EIGHT, query=5).steps, features(EIGHT)
    with torch.no_grad():
        outputs = model(inputs, output_hidden_states=True)
    states = outputs.hidden_states[:2]  # what goes into each of the two layers
    for norms, state in zip(steps.norms, states, strict=False):
        np.testing.assert_allclose(norms, state[0].norm(dim=-1), rtol=1e-5)
    assert steps.norms.shape == (3, len(steps.patches))
    maps = model.attention_maps(inputs)
    for place, weights in enumerate(maps.values()):
        np.testing.assert_allclose(steps.maps[place], weights[0, :, 5].mean(0), atol=1e-6)
    np.testing.assert_allclose(steps.scores, outputs.logits[0].sigmoid(), atol=1e-6)
    np.testing.assert_allclose(steps.clip_scores, outputs.clip_logits[0].sigmoid(), atol=1e-6)
    assert len(steps.labels) == LABELS


@pytest.mark.parametrize("kind", ["joint", "factorized", "sinusoidal"])
def test_places_are_compared_by_the_cosine_of_what_is_added(kind):
    model = tiny_spectrogram(position_kind=kind)
    steps = explain.patches(model, SOUND, EIGHT, query=4).steps
    positions = steps.positions
    expected = [positions[4] @ each / (np.linalg.norm(positions[4]) * np.linalg.norm(each)) for each in positions]
    np.testing.assert_allclose(steps.alike, expected, atol=1e-5)
    taken = []
    handle = model.spectrogram_transformer.layers[0].register_forward_pre_hook(lambda _, args: taken.append(args[0]))
    with torch.no_grad():
        model(features(EIGHT))
    handle.remove()
    np.testing.assert_allclose(steps.embeddings + positions, taken[0][0, 2:], atol=1e-5)


def test_rotary_places_are_compared_by_the_product_of_two_equal_vectors():
    model = tiny_spectrogram(position_kind="rotary", num_attention_heads=2)  # heads of 8: two angles for each axis
    steps = explain.patches(model, SOUND, EIGHT, query=4).steps
    angles = 10_000.0 ** -(np.arange(2) / 2)
    rows, columns = np.divmod(np.arange(len(steps.patches)), steps.columns)
    turns = np.stack([rows - rows[4], columns - columns[4]])[..., None] * angles  # (axes, patches, angles)
    np.testing.assert_allclose(steps.alike, np.cos(turns).mean((0, 2)), atol=1e-5)
    assert steps.positions is None and steps.alike[4] == pytest.approx(1)


def test_a_class_token_shows_what_it_gathers():
    model = tiny_spectrogram(pooling="cls", problem_type="multi_label_classification")
    steps = explain.patches(model, SOUND, EIGHT).steps
    maps = model.attention_maps(features(EIGHT))["layers.1"]
    np.testing.assert_allclose(steps.pooled, maps[0, :, 0, 1:].mean(0), atol=1e-6)
    with torch.no_grad():
        np.testing.assert_allclose(steps.clip_scores, model(features(EIGHT)).logits[0].sigmoid(), atol=1e-6)


def test_a_writers_patches_end_in_its_text():
    model = writer()
    steps = explain.patches(model, SOUND, WORDS).steps
    assert steps.text == WORDS.batch_decode(model.generate(features(EIGHT)))[0]
    assert steps.scores is None and steps.labels == ()


def test_a_patch_is_named_by_its_number_or_by_seconds_and_hertz():
    model, middles = tiny_spectrogram(), mel_edges(EIGHT.options).mean(1)
    shown = explain.patches(model, SOUND, EIGHT, query=(0.30, float(middles[4]))).steps
    start, end, low, high = shown.boxes[shown.query]
    assert start < 0.30 < end and low < 4.5 < high
    assert explain.patches(model, SOUND, EIGHT, query=shown.query).steps.query == shown.query
    steps = explain.attention(model, SOUND, EIGHT, query=(0.30, float(middles[4])))
    np.testing.assert_array_equal(steps.steps.query_boxes[steps.enlarged.queries[0]], shown.boxes[shown.query])
    for wrong in ((9.0, 800.0), (0.3, 90_000.0)):
        with pytest.raises(ValueError, match=r"query=.*: the clip has patches from 0 to 0\.48 s"):
            explain.patches(model, SOUND, EIGHT, query=wrong)


def test_what_is_not_there_is_refused_in_words():
    tagger, las = tiny_spectrogram(), tiny_las(attention_kind="location")
    with pytest.raises(ValueError, match=r"layer=9: allowed are layers.0, layers.1"):
        explain.attention(tagger, SOUND, EIGHT, layer=9)
    with pytest.raises(ValueError, match="head=2: the layer has 2; allowed are 0 to 1"):
        explain.attention(tagger, SOUND, EIGHT, head=2)
    with pytest.raises(ValueError, match="query=999: the clip has 45 patches; allowed are 0 to 44"):
        explain.attention(tagger, SOUND, EIGHT, query=999)
    with pytest.raises(ValueError, match=r"query=99: .* tokens are written"):
        explain.las(las, SOUND, SIX, query=99)
    with pytest.raises(ValueError, match=r"attention_kind is 'location'; a scaled dot product"):
        explain.attention(las, SOUND, SIX)
    with pytest.raises(ValueError, match="`aural explain las` draws Listen-Attend-Spell"):
        explain.las(tagger, SOUND, EIGHT)
    with pytest.raises(ValueError, match="`aural explain las` Listen-Attend-Spell"):
        explain.patches(las, SOUND, SIX)
    with pytest.raises(ValueError, match=r"lasts 31.0 s; at most 30 s are explained"):
        explain.las(las, wave(31.0), SIX)
    with pytest.raises(ValueError, match="processor=None"):
        explain.las(las, SOUND)
    with pytest.raises(ValueError, match="gives 6 mels but the model takes 8"):
        explain.patches(tagger, SOUND, SIX.feature_extractor)


def test_folders_of_every_family_are_opened(tmp_path):
    save_folder(tmp_path / "las", attention_kind="dot")
    save_tagger(tmp_path / "tagger")
    assert explain.las(tmp_path / "las", SOUND).named == f"{tmp_path.name}/las, audio"
    assert explain.patches(tmp_path / "tagger", SOUND).steps.labels == ("bell", "drum", "horn")


def test_without_a_model_the_kept_one_of_the_clone_is_explained():
    shown = explain.las()
    assert shown.named.startswith("model_cards/las-demo, ") and shown.steps.text == "seven tango"
    assert [layer.seconds for layer in shown.steps.layers] == [0.02, 0.04, 0.08]


def test_without_a_clone_the_error_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(explain_source, "CARDS", tmp_path)
    for figure in (explain.attention, explain.las, explain.patches):
        with pytest.raises(FileNotFoundError, match=r"no --model is given.*`aural demo` trains"):
            figure()


def test_nothing_is_kept_on_modules():
    model = tiny_spectrogram()
    explain.attention(model, SOUND, EIGHT)
    explain.patches(model, SOUND, EIGHT)
    assert not any(module._forward_hooks for module in model.modules())
