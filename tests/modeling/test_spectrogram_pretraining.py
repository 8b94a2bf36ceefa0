"""Masked pre-training: losses worked by hand, what the encoder sees, padding, masks, and where the encoder goes."""

import math

import pytest
import torch
import transformers

from aural import (
    SpectrogramTransformerForAudioClassification,
    SpectrogramTransformerForAudioFrameClassification,
    SpectrogramTransformerForConditionalGeneration,
    SpectrogramTransformerForCTC,
    SpectrogramTransformerForPreTraining,
    SpectrogramTransformerModel,
)
from aural.configuration.text_decoder import TextDecoderConfig
from tests.modeling.test_host_waits import OURS, Waits
from tests.tiny_spectrogram import spectrograms, tiny_spectrogram, tiny_spectrogram_config

AUTOENCODER, JOINT = "masked_autoencoder", "discriminative_generative"
OBJECTIVES = [AUTOENCODER, JOINT]
KINDS = ["random", "time", "frequency", "inverse_block"]
LENGTHS = [40, 20, 17, 4]  # 12, 5, 4 and 1 columns of 3 patches
PLACES = 36


def pretrainer(objective=AUTOENCODER, **overrides):
    return tiny_spectrogram(SpectrogramTransformerForPreTraining, pretraining_objective=objective, **overrides)


def some_masks(masks=2, seed=1, places=PLACES):
    """Boolean `(clips, masks, places)`, about half of them True."""
    return torch.rand(len(LENGTHS), masks, places, generator=torch.Generator().manual_seed(seed)) < 0.5


def own_grid(masks, own):
    """Of the padded grid the part `(…, rows * own)` that a clip of so many columns has."""
    return masks.unflatten(-1, (3, 12))[..., :own].flatten(-2)


def contents_by_hand(clip, normalize):
    """What each patch of a clip `(frames, mels)` covers, by loops: a list of vectors, place by place."""
    if len(clip) < 6:
        clip = torch.cat([clip, torch.zeros(6 - len(clip), clip.shape[1])])
    columns = (len(clip) - 6) // 3 + 1
    contents = []
    for row in range(3):
        for column in range(columns):
            patch = clip[column * 3 : column * 3 + 6, row * 2 : row * 2 + 4].T.flatten()
            if normalize:
                patch = (patch - patch.mean()) / (patch.var() + 1e-6).sqrt()
            contents.append(patch)
    return contents


def sinusoids(row, column, width):
    """Sines and cosines of a place, by the formula of arXiv:1706.03762, half of the features by each axis."""
    half = []
    for at in (row, column):
        angles = [at / 10_000 ** (i / (width // 4)) for i in range(width // 4)]
        half += [math.sin(angle) for angle in angles] + [math.cos(angle) for angle in angles]
    return torch.tensor(half)


def autoencoder_by_hand(model, clip, mask):
    """Sum of the errors of masked patches, and their number, of one clip `(frames, mels)` without padding."""
    encoder, decoder = model.spectrogram_transformer, model.decoder
    raw, targets = (contents_by_hand(clip, normalize) for normalize in (False, True))
    columns = len(raw) // 3
    table, projection = encoder.embeddings.positions.table, encoder.embeddings.patch_projection
    seen = [place for place in range(len(raw)) if not mask[place]]
    tokens = [*encoder.embeddings.class_tokens]
    for place in seen:
        position = table[place // columns, place % columns]
        tokens.append(projection.weight.flatten(1) @ raw[place] + projection.bias + position)
    states = torch.stack(tokens)[None]
    for layer in encoder.layers:
        states = layer(states)
    states = decoder.projection(encoder.layernorm(states))[0]
    grid = list(states[:2])
    for place in range(len(raw)):
        content = states[2 + seen.index(place)] if place in seen else decoder.mask_token
        grid.append(content + sinusoids(place // columns, place % columns, 8))
    states = torch.stack(grid)[None]
    for layer in decoder.layers:
        states = layer(states)
    told = decoder.prediction(decoder.layernorm(states))[0, 2:]
    errors = [((told[place] - targets[place]) ** 2).mean() for place in range(len(raw)) if mask[place]]
    return sum(errors), len(errors)


def test_a_masked_autoencoders_loss_is_that_of_a_slow_loop_over_patches():
    model = pretrainer()
    features, mask = spectrograms([20, 17, 4, 20])
    masked = some_masks(places=15)
    output = model(features, attention_mask=mask, mask=masked)
    total, count = 0, 0
    for row, length in enumerate([20, 17, 4, 20]):
        own = model.config.time_patches(length)
        for chosen in masked[row].unflatten(-1, (3, 5))[..., :own].flatten(-2):
            error, number = autoencoder_by_hand(model, features[row, :length], chosen)
            total, count = total + error, count + number
    assert int(output.mask.sum()) == count
    torch.testing.assert_close(output.loss, total / count, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        model(features, attention_mask=mask, mask=masked, num_items_in_batch=7).loss, total / 7, atol=1e-4, rtol=1e-5
    )


@pytest.mark.parametrize("normalize", [False, True])
def test_ssasts_loss_is_infonce_within_a_clip_and_ten_times_the_squared_error(normalize):
    model = pretrainer(JOINT, pretraining_normalize_patches=normalize)
    features, mask = spectrograms(LENGTHS)
    masked = some_masks()
    output = model(features, attention_mask=mask, mask=masked, output_hidden_states=True)
    heads, total, count = model.decoder, 0.0, 0
    states = output.hidden_states[-1].unflatten(0, (4, 2))[:, :, 2:]  # what the last layer gave
    states = model.spectrogram_transformer.layernorm(states)
    for row, length in enumerate(LENGTHS):
        own = model.config.time_patches(length)
        contents = contents_by_hand(features[row, :length], normalize)
        for number in range(2):
            found = states[row, number].unflatten(0, (3, 12))[:, :own].flatten(0, 1)
            hidden = own_grid(masked[row, number], own).nonzero().flatten().tolist()
            for i in hidden:
                told = heads.discriminator(found[i])
                scores = torch.stack([told @ contents[j] for j in hidden])
                total -= scores.softmax(0)[hidden.index(i)].log()
                total += 10 * ((heads.generator(found[i]) - contents[i]) ** 2).mean()
                count += 1
    torch.testing.assert_close(output.loss, total / count, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("position_kind", ["joint", "rotary"])
@pytest.mark.parametrize("fit", ["cut", "interpolate"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_clip_gives_the_same_alone_and_in_a_padded_batch_whatever_the_padding_holds(objective, position_kind, fit):
    model = pretrainer(objective, position_kind=position_kind, position_fit=fit)
    features, mask = spectrograms(LENGTHS)
    masked = some_masks()
    noisy = features.masked_fill(mask[..., None] == 0, float("nan"))
    together = model(noisy, attention_mask=mask, mask=masked)
    total = 0
    for row, length in enumerate(LENGTHS):
        own = model.config.time_patches(length)
        alone = model(features[row : row + 1, :length], mask=own_grid(masked[row : row + 1], own))
        assert torch.equal(alone.mask[0], own_grid(together.mask[row], own))
        logits = together.logits[row].unflatten(1, (3, 12))[:, :, :own].flatten(1, 2)
        torch.testing.assert_close(logits, alone.logits[0], atol=1e-5, rtol=0)
        total = total + alone.loss * alone.mask.sum()
    torch.testing.assert_close(together.loss, total / together.mask.sum(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_without_training_the_masks_of_a_clip_are_the_same_in_every_batch(objective, kind):
    model = pretrainer(objective, mask_kind=kind, mask_ratio=0.6)
    features, mask = spectrograms(LENGTHS)
    together = model(features, attention_mask=mask)
    assert torch.equal(model(features, attention_mask=mask).loss, together.loss)
    for row, length in enumerate(LENGTHS):
        own = model.config.time_patches(length)
        alone = model(features[row : row + 1, :length])
        assert torch.equal(alone.mask[0], own_grid(together.mask[row], own))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_encoder_never_sees_what_is_masked(objective):
    model = pretrainer(objective, patch_stride=[4, 6])  # patches that share nothing
    features, mask = spectrograms([36, 30])  # 6 and 5 columns of 2 patches
    masked = torch.rand(2, 12, generator=torch.Generator().manual_seed(0)) < 0.5
    before = model(features, attention_mask=mask, mask=masked, output_hidden_states=True)
    changed = features.clone()
    for row in range(2):
        for place in masked[row].nonzero().flatten().tolist():
            high, late = place // 6, place % 6
            changed[row, late * 6 : late * 6 + 6, high * 4 : high * 4 + 4] += 5.0
    after = model(changed, attention_mask=mask, mask=masked, output_hidden_states=True)
    assert len(before.hidden_states) == 3
    for one, other in zip(before.hidden_states, after.hidden_states, strict=True):
        assert torch.equal(one, other)
    assert torch.equal(before.logits, after.logits)
    assert abs(before.loss - after.loss) > 1e-6 or model.config.pretraining_normalize_patches
    seen = (~masked & (mask.new_tensor([6, 5])[:, None] > torch.arange(12) % 6)).nonzero()[0]
    high, late = int(seen[1]) // 6, int(seen[1]) % 6
    features[int(seen[0]), late * 6 : late * 6 + 6, high * 4 : high * 4 + 4] *= -2
    assert not torch.equal(model(features, attention_mask=mask, mask=masked).logits, before.logits)


def test_the_autoencoders_encoder_gets_no_more_tokens_than_are_kept():
    model = pretrainer(mask_ratio=0.8, masks_per_clip=3)
    features, mask = spectrograms([40, 20])
    states = model(features, attention_mask=mask, output_hidden_states=True, output_attentions=True)
    assert states.hidden_states[0].shape == (6, 2 + 7, 16)  # class tokens, and a fifth of 36 patches
    model.set_attn_implementation("eager")
    (first, second) = model(features, attention_mask=mask, output_attentions=True).attentions
    assert first.shape == second.shape == (6, 2, 9, 9)
    assert (first[3:, :, :, 2 + 3 :] == 0).all()  # the shorter clip keeps 3 of 15


def test_the_encoder_takes_patches_in_place_of_features():
    encoder = pretrainer(position_kind="rotary").spectrogram_transformer
    features, mask = spectrograms(LENGTHS)
    patches = encoder.embeddings(*encoder.prepare(features, mask))
    expected = encoder(features, mask)
    got = encoder(patches=patches)
    assert torch.equal(got.last_hidden_state, expected.last_hidden_state)
    assert torch.equal(got.patch_mask, expected.patch_mask)


def test_several_masks_give_the_mean_over_masks():
    features, mask = spectrograms(LENGTHS)
    masked = some_masks(3)
    for objective in OBJECTIVES:
        model = pretrainer(objective)
        together = model(features, attention_mask=mask, mask=masked)
        each = [model(features, attention_mask=mask, mask=masked[:, number]) for number in range(3)]
        total = sum(one.loss * one.mask.sum() for one in each)
        torch.testing.assert_close(together.loss, total / together.mask.sum(), atol=1e-5, rtol=1e-5)
        for number, one in enumerate(each):
            torch.testing.assert_close(together.logits[:, number], one.logits[:, 0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_accumulated_batches_have_the_gradient_of_one_large_one(objective):
    features, mask = spectrograms(LENGTHS)
    labels = torch.where(some_masks(1), 1, -100)
    gradients = []
    for parts in (1, 4):
        model = pretrainer(objective, mask_ratio=0.3)  # keeps more than the masks at hand
        items = model(features, attention_mask=mask, labels=labels).mask.sum()
        for rows in torch.arange(4).chunk(parts):
            model(features[rows], mask[rows], labels=labels[rows], num_items_in_batch=items).loss.backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_labels_are_the_masks_that_a_collator_drew():
    model = pretrainer(mask_ratio=0.3)
    features, mask = spectrograms(LENGTHS)
    masked = some_masks()
    labels = torch.where(masked, 1, -100)
    expected = model(features, attention_mask=mask, mask=masked)
    assert torch.equal(model(features, attention_mask=mask, labels=labels).loss, expected.loss)


def test_training_draws_from_torchs_generator_or_from_ones_own():
    model = pretrainer(mask_ratio=0.6).train()
    features, mask = spectrograms(LENGTHS)
    torch.manual_seed(0)
    first, second = (model(features, attention_mask=mask).mask for _ in range(2))
    assert not torch.equal(first, second)
    torch.manual_seed(0)
    assert torch.equal(model(features, attention_mask=mask).mask, first)
    drawn = [model.eval()(features, mask, generator=torch.Generator().manual_seed(seed)).mask for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_patchout_and_spec_augment_rest():
    options = {"patchout_time": 0.5, "apply_spec_augment": True, "mask_time_prob": 0.9}
    features, mask = spectrograms(LENGTHS)
    plain, thinning = pretrainer().train(), pretrainer(**options).train()
    masked = some_masks()
    assert torch.equal(plain(features, mask, mask=masked).loss, thinning(features, mask, mask=masked).loss)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_parameter_learns_and_all_is_finite_in_bfloat16(objective, kind):
    features, mask = spectrograms([*LENGTHS, 0])
    features[1] = -3.0  # a clip of silence: no patch has any variance
    for pooling in ("cls_distillation", "mean"):
        model = pretrainer(objective, mask_kind=kind, pooling=pooling, scale=0.2).train()
        model(features, attention_mask=mask).loss.backward()
        gradients = {name: weight.grad for name, weight in model.named_parameters()}
        assert [name for name, gradient in gradients.items() if gradient is None or not gradient.any()] == []
        model = model.to(torch.bfloat16)
        model.zero_grad()
        output = model(features, attention_mask=mask)
        assert output.loss.dtype == torch.float32 and output.logits.dtype == torch.bfloat16
        output.loss.backward()
        assert output.loss.isfinite()
        assert all(weight.grad.isfinite().all() for weight in model.parameters())


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_bfloat16_and_autocast_are_near_float32(objective):
    features, mask = spectrograms(LENGTHS)
    model = pretrainer(objective, scale=0.2)
    expected = model(features, attention_mask=mask).loss
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(model(features, attention_mask=mask).loss, expected, atol=0.02, rtol=0.02)
    got = model.to(torch.bfloat16)(features, attention_mask=mask).loss
    torch.testing.assert_close(got, expected, atol=0.02, rtol=0.02)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_it_learns_what_a_sounds_other_patches_tell(objective):
    """Clips of one slope over frequency, up or down: what is kept tells what is masked."""
    torch.manual_seed(0)
    size = {"patch_stride": [4, 6], "num_hidden_layers": 1, "pretraining_decoder_layers": 1}
    config = tiny_spectrogram_config(pretraining_objective=objective, mask_ratio=0.5, **size)
    model = SpectrogramTransformerForPreTraining(config).train()
    features = torch.linspace(-2, 2, 8)[:, None, None] * torch.linspace(-1, 1, 8) + torch.zeros(8, 24, 8)
    optimizer, losses = torch.optim.AdamW(model.parameters(), 1e-2), []
    for _ in range(70):
        loss = model(features).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.3 * sum(losses[:5])


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("pooling", ["cls_distillation", "mean", "attention"])
def test_every_head_takes_the_encoder_tensor_by_tensor(tmp_path, objective, pooling):
    model = pretrainer(objective, pooling=pooling)
    model.save_pretrained(tmp_path)
    learned = model.spectrogram_transformer.state_dict()
    for head, options in (
        (SpectrogramTransformerForAudioClassification, {}),
        (SpectrogramTransformerForAudioFrameClassification, {}),
        (SpectrogramTransformerForCTC, {"vocab_size": 9}),
        (SpectrogramTransformerModel, {}),
    ):
        loaded = head.from_pretrained(tmp_path, **options)
        weights = getattr(loaded, "spectrogram_transformer", loaded).state_dict()
        assert {name for name in weights if not name.startswith("pooler.")} == set(learned)
        assert all(torch.equal(weights[name], value) for name, value in learned.items())


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_model_that_writes_takes_the_encoder_tensor_by_tensor(tmp_path, objective):
    model = pretrainer(objective, pooling="mean")
    model.save_pretrained(tmp_path)
    for source in (tmp_path, model):
        decoder = TextDecoderConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
        writer = SpectrogramTransformerForConditionalGeneration.from_encoder_decoder(source, decoder)
        weights, learned = (each.spectrogram_transformer.state_dict() for each in (writer, model))
        assert set(weights) == set(learned)
        assert all(torch.equal(weights[name], value) for name, value in learned.items())


def test_a_head_may_pool_otherwise_than_the_pretraining_did(tmp_path):
    model = pretrainer(pooling="mean", num_class_tokens=1)
    model.save_pretrained(tmp_path)
    for pooling in ("cls", "attention"):
        loaded = SpectrogramTransformerForAudioClassification.from_pretrained(tmp_path, pooling=pooling)
        for name, value in model.spectrogram_transformer.state_dict().items():
            assert torch.equal(loaded.spectrogram_transformer.state_dict()[name], value)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_save_and_load_keep_every_weight_also_through_the_auto_class(tmp_path, objective):
    model = pretrainer(objective, masks_per_clip=2, mask_kind="inverse_block")
    features, mask = spectrograms(LENGTHS)
    model.save_pretrained(tmp_path)
    for loader in (SpectrogramTransformerForPreTraining, transformers.AutoModelForPreTraining):
        loaded = loader.from_pretrained(tmp_path).eval()
        assert type(loaded) is SpectrogramTransformerForPreTraining
        assert torch.equal(loaded(features, attention_mask=mask).loss, model(features, attention_mask=mask).loss)


def test_what_is_new_starts_random_and_small():
    torch.manual_seed(0)
    for objective, name in ((AUTOENCODER, "mask_token"), (JOINT, "mask_embedding")):
        config = tiny_spectrogram_config(pretraining_objective=objective, hidden_size=800)
        learned = getattr(SpectrogramTransformerForPreTraining(config).decoder, name)
        assert learned.std().item() == pytest.approx(0.02, rel=0.15)


def test_the_decoder_has_two_layers_of_half_width_unless_told_otherwise():
    decoder = pretrainer().decoder
    assert (len(decoder.layers), decoder.config.hidden_size, decoder.config.num_attention_heads) == (2, 8, 2)
    chosen = {"pretraining_decoder_layers": 1, "pretraining_decoder_hidden_size": 12, "pretraining_decoder_heads": 3}
    decoder = pretrainer(**chosen).decoder
    assert (len(decoder.layers), decoder.config.hidden_size, decoder.config.num_attention_heads) == (1, 12, 3)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_attention_implementations_agree_and_the_decoder_follows(tmp_path, objective):
    model = pretrainer(objective, position_kind="rotary")
    features, mask = spectrograms(LENGTHS)
    expected = model(features, attention_mask=mask)
    model.set_attn_implementation("eager")
    if objective == AUTOENCODER:
        assert model.decoder.layers[0].attention.config._attn_implementation == "eager"
    got = model(features, attention_mask=mask)
    torch.testing.assert_close(got.logits, expected.logits, atol=1e-5, rtol=0)
    model.save_pretrained(tmp_path)
    loaded = SpectrogramTransformerForPreTraining.from_pretrained(tmp_path, attn_implementation="eager").eval()
    assert torch.equal(loaded(features, attention_mask=mask).logits, got.logits)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_gradient_checkpointing_changes_no_gradient(objective):
    features, mask = spectrograms(LENGTHS)
    gradients = []
    for checkpointing in (False, True):
        model = pretrainer(objective).train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        torch.manual_seed(3)
        model(features, attention_mask=mask).loss.backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, checkpointed)


def test_attention_maps_are_the_encoders_over_every_patch():
    model = pretrainer()
    features, mask = spectrograms(LENGTHS)
    maps, expected = model.attention_maps(features, mask), model.spectrogram_transformer.attention_maps(features, mask)
    assert list(maps) == ["layers.0", "layers.1"]
    assert all(torch.equal(maps[name], expected[name]) for name in maps)


@pytest.mark.parametrize(("objective", "kind"), [(AUTOENCODER, "random"), (JOINT, "inverse_block")])
def test_it_compiles_without_a_graph_break(objective, kind):
    features, mask = spectrograms(LENGTHS)
    model = pretrainer(objective, mask_kind=kind, num_hidden_layers=1, pretraining_decoder_layers=1)
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    expected = model(features, attention_mask=mask).loss
    torch.testing.assert_close(compiled(features, attention_mask=mask).loss, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("given", ["drawn", "labels", "mask"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_nothing_of_ours_waits_for_a_device(monkeypatch, objective, given):
    for room in ("checks", "spectrogram_pretraining"):
        monkeypatch.setattr(f"aural.modeling.{room}.on_host", lambda _: False)
    model = pretrainer(objective, mask_ratio=0.3).train()
    features, mask = spectrograms(LENGTHS)
    masked = some_masks()
    masks = {"labels": {"labels": torch.where(masked, 1, -100)}, "mask": {"mask": masked}}.get(given, {})
    with Waits() as waits:
        model(features, attention_mask=mask, **masks).loss.backward()
    assert not waits.of[OURS]


@pytest.mark.parametrize("given", ["labels", "mask"])
def test_on_a_device_the_loss_is_that_of_the_host(monkeypatch, given):
    model = pretrainer(mask_ratio=0.3)
    features, mask = spectrograms(LENGTHS)
    masked = some_masks()
    masks = {given: torch.where(masked, 1, -100) if given == "labels" else masked}
    expected = model(features, attention_mask=mask, **masks)
    monkeypatch.setattr("aural.modeling.spectrogram_pretraining.on_host", lambda _: False)
    got = model(features, attention_mask=mask, **masks)
    torch.testing.assert_close(got.loss, expected.loss, atol=1e-5, rtol=0)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("normalize", [False, True])
def test_a_reconstruction_averages_what_overlapping_patches_tell(objective, normalize):
    model = pretrainer(objective, pretraining_normalize_patches=normalize)
    told = model.decoder.prediction if objective == AUTOENCODER else model.decoder.generator[2]
    with torch.no_grad():  # it tells 0.5 of every point: half a deviation above the mean of each patch, where normal
        told.weight.zero_()
        told.bias.fill_(0.5)
    features, mask = spectrograms([41, 20])  # of 41 frames patches cover 39
    masked = torch.rand(2, PLACES, generator=torch.Generator().manual_seed(0)) < 0.4
    result = model.reconstruct(features, mask, mask=masked)
    for row in range(2):
        sums, shares, count = torch.zeros(41, 8), torch.zeros(41, 8), torch.zeros(41, 8)
        for place in range(PLACES):
            high, late = place // 12, place % 12
            own = model.config.time_patches([41, 20][row])
            at = (slice(late * 3, late * 3 + 6), slice(high * 2, high * 2 + 4))
            patch = features[row][at]
            hidden = bool(masked[row, place]) and late < own
            wrong = patch.mean() + 0.5 * (patch.var() + 1e-6).sqrt() if normalize else torch.tensor(0.5)
            sums[at] += wrong if hidden else patch
            shares[at] += hidden
            count[at] += 1
        covered = count > 0
        expected = torch.where(covered, sums / count.clamp(min=1), features[row])
        torch.testing.assert_close(result.reconstructed[row], expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(result.masked[row], shares / count.clamp(min=1))
    assert torch.equal(result.original, features)
    short = model.reconstruct(features[:1, :4])
    assert short.reconstructed.shape == short.masked.shape == (1, 4, 8)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mask": torch.zeros(2, 14)}, r"mask \(2, 14\) must be \(batch=2, places=15\) or"),
        ({"labels": torch.zeros(3, 15)}, r"labels \(3, 15\) must be \(batch=2, places=15\) or"),
        ({"mask": torch.zeros(2, 0, 15)}, r"mask \(2, 0, 15\) must be"),
        ({"mask": torch.zeros(2, 15), "labels": torch.zeros(2, 15)}, "mask and labels both say"),
        ({"labels": torch.full((2, 15), -100)}, "labels keep 15 patches of a clip, where mask_kind='random' at mask_"),
        ({"input_features": torch.zeros(2, 20, 9)}, r"input_features \(2, 20, 9\) must be \(batch, frames, 8\)"),
    ],
)
def test_masks_that_do_not_fit_are_refused_by_name(given, message):
    with pytest.raises(ValueError, match=message):
        pretrainer()(**{"input_features": torch.zeros(2, 20, 8), **given})


def test_a_mask_of_nothing_gives_no_loss():
    features, mask = spectrograms(LENGTHS)
    output = pretrainer()(features, attention_mask=mask, mask=torch.zeros(4, PLACES, dtype=torch.bool))
    assert output.loss.item() == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pretraining_objective": "guess"}, "pretraining_objective='guess' must be one of masked_autoencoder, disc"),
        ({"mask_kind": "rows"}, "mask_kind='rows' must be one of random, time, frequency, inverse_block"),
        ({"mask_ratio": 1.0}, "mask_ratio=1.0 must be above 0 and below 1"),
        ({"mask_ratio": 0}, "mask_ratio=0 must be above 0 and below 1"),
        ({"mask_kind": "frequency", "patch_size": [8, 6]}, "mask_kind='frequency' masks whole rows"),
        ({"masks_per_clip": 0}, "masks_per_clip=0 must be at least 1"),
        ({"pretraining_decoder_layers": 0}, "pretraining_decoder_layers=0 must be at least 1"),
        ({"pretraining_decoder_heads": 0}, "pretraining_decoder_heads=0 must be at least 1"),
        ({"pretraining_generative_weight": -1}, "pretraining_generative_weight=-1 must be at least 0"),
        ({"pretraining_decoder_hidden_size": 6}, "pretraining_decoder_hidden_size=6 must be divisible by 4 and by"),
        ({"pretraining_decoder_heads": 3}, "pretraining_decoder_hidden_size=8 .* pretraining_decoder_heads=3"),
    ],
)
def test_an_impossible_config_is_refused_with_its_numbers(fields, message):
    with pytest.raises(Exception, match=message):
        SpectrogramTransformerForPreTraining(tiny_spectrogram_config(**fields))
