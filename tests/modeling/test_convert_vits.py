"""The original AST, SSAST, PaSST and AudioMAE: what each computes from its own names, ours computes too."""

import numpy as np
import pytest
import torch

from aural import LogMelFeatureExtractor, SpectrogramTransformerForAudioClassification, SpectrogramTransformerModel
from aural.modeling.convert_dialect import convert_state_dict
from aural.modeling.convert_geometry import resampled
from aural.modeling.convert_passt import passt_features
from aural.modeling.convert_shared import Told
from tests import foreign


def clips(frames: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(2, frames, 128, generator=torch.Generator().manual_seed(seed))


def logits_of(conversion, features: torch.Tensor) -> torch.Tensor:
    model = conversion.build()
    assert isinstance(model, SpectrogramTransformerForAudioClassification)
    with torch.no_grad():
        return model(features).logits


def mean_of_two(states: torch.Tensor) -> torch.Tensor:
    return (states[:, 0] + states[:, 1]) / 2


def test_original_ast_gives_its_own_logits():
    state, features = foreign.original_ast(), clips(1024)
    _, expected = foreign.reference_under_v(state, features, (10, 10), mean_of_two)
    conversion = convert_state_dict(state)
    assert expected.abs().mean() > 0.1
    torch.testing.assert_close(logits_of(conversion, features), expected, atol=1e-5, rtol=0)
    assert conversion.dialect == "the original AST"
    assert conversion.unused == tuple(
        f"module.v.{head}.{kind}" for head in ("head", "head_dist") for kind in ("bias", "weight")
    )
    config = conversion.config
    assert (config.patch_size, config.patch_stride, config.position_frames) == ([16, 16], [10, 10], 1024)
    assert (config.layer_norm_eps, config.final_norm_eps, config.head_norm_eps) == (1e-6, 1e-6, 1e-5)
    assert (config.num_attention_heads, config.num_labels) == (1, foreign.LABELS)
    assert any("SSAST" in note for note in conversion.notes)


def test_heads_are_as_told_since_no_shape_tells_them():
    state, features = foreign.original_ast(), clips(1024)
    _, expected = foreign.reference_under_v(state, features, (10, 10), mean_of_two, heads=4)
    conversion = convert_state_dict(state, Told(heads=4))
    torch.testing.assert_close(logits_of(conversion, features), expected, atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="heads=5 must divide the checkpoint's width, 64"):
        convert_state_dict(state, Told(heads=5))


@pytest.mark.parametrize(
    ("columns", "frames", "mean", "deviation"),
    [(101, 1024, -4.2677393, 4.5689974), (50, 512, -6.6268077, 5.358466), (12, 128, -6.845978, 5.5654526)],
)
def test_ast_of_other_data_sets_brings_their_length_and_statistics(columns, frames, mean, deviation):
    conversion = convert_state_dict(foreign.original_ast(columns=columns))
    assert conversion.config.position_frames == frames
    features = conversion.features
    assert (features["max_length"], features["mean"], features["std"]) == (frames, mean, 2 * deviation)
    assert not features["return_attention_mask"]


def test_class_tokens_hold_their_positions_and_the_table_only_those_of_patches():
    state = foreign.original_ast()
    ours = convert_state_dict(state).state_dict
    body, table = "spectrogram_transformer.embeddings.", state["module.v.pos_embed"][0]
    tokens = torch.cat([state["module.v.cls_token"][0], state["module.v.dist_token"][0]])
    assert torch.equal(ours[f"{body}class_tokens"], tokens + table[:2])
    assert torch.equal(ours[f"{body}positions.table"][3, 7], table[2 + 3 * 101 + 7])


SSAST = {  # patch, stride, positions, dist, frames
    "patches": ((16, 16), (16, 16), 512, True, 1024),
    "overlapping patches": ((16, 16), (10, 10), 1212, True, 1024),
    "frames": ((128, 2), (128, 2), 512, True, 1024),
    "overlapping frames": ((128, 2), (128, 1), 1023, True, 1024),
    "frames, no distillation": ((128, 2), (128, 2), 512, False, 1024),
    "patches, no distillation": ((16, 16), (16, 16), 256, False, 512),
}


@pytest.mark.parametrize("case", SSAST)
def test_fine_tuned_ssast_averages_the_patches(case):
    patch, stride, positions, dist, frames = SSAST[case]
    state, features = foreign.ssast(False, patch, positions, dist), clips(frames)
    count = 1 + dist
    _, expected = foreign.reference_under_v(state, features, stride, lambda states: states[:, count:].mean(1))
    sure = patch != (16, 16) or not dist  # else it has the names of the original AST
    conversion = convert_state_dict(state, None if sure else Told(dialect="ssast"))
    torch.testing.assert_close(logits_of(conversion, features), expected, atol=1e-5, rtol=0)
    config = conversion.config
    assert (conversion.dialect, config.pooling, config.num_class_tokens) == ("SSAST, fine-tuned", "mean", count)
    assert (tuple(config.patch_stride), config.position_frames) == (stride, frames)


@pytest.mark.parametrize(("patch", "dist"), [((16, 16), True), ((128, 2), True), ((128, 2), False)])
def test_pretrained_ssast_is_an_encoder_and_its_heads_are_listed(patch, dist):
    state, features = foreign.ssast(True, patch, 512, dist), clips(1024)
    expected, _ = foreign.reference_under_v(state, features, patch, mean_of_two)
    conversion = convert_state_dict(state)
    model = conversion.build()
    assert isinstance(model, SpectrogramTransformerModel)
    with torch.no_grad():
        got = model(features)
    torch.testing.assert_close(got.last_hidden_state, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(got.pooler_output, expected[:, 1 + dist :].mean(1), atol=1e-5, rtol=0)
    assert conversion.dialect == "SSAST, pre-trained"
    unused = {name.removeprefix("module.").split(".")[0] for name in conversion.unused}
    assert unused == {"mask_embed", "cpredlayer", "gpredlayer", "v"}


def test_ssast_that_was_tuned_on_its_class_tokens_is_told():
    state, features = foreign.ssast(False, (128, 2), 512, dist=False), clips(1024)
    _, expected = foreign.reference_under_v(state, features, (128, 2), lambda states: states[:, 0])
    conversion = convert_state_dict(state, Told(pooling="cls"))
    torch.testing.assert_close(logits_of(conversion, features), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dist", [True, False])
@pytest.mark.parametrize("frames", [998, 500])
def test_passt_gives_its_own_logits_on_whole_and_shorter_clips(frames, dist):
    state, features = foreign.passt(dist=dist), clips(frames)
    conversion = convert_state_dict(state)
    expected = foreign.reference_passt(state, features)
    torch.testing.assert_close(logits_of(conversion, features), expected, atol=1e-5, rtol=0)
    assert conversion.config.problem_type == "multi_label_classification"
    assert {name.split(".")[0] for name in conversion.unused} == ({"head_dist"} if dist else set())
    assert conversion.features["sampling_rate"] == 32_000


@pytest.mark.parametrize(
    ("rows", "columns", "stride", "frames", "shift"),
    [
        (12, 99, 10, 998, 10),
        (10, 83, 12, 1000, 10),
        (9, 71, 14, 998, 10),
        (8, 62, 16, 998, 10),
        (12, 320, 10, 3206, 3.125),
    ],
)
def test_passt_at_every_published_stride(rows, columns, stride, frames, shift):
    config = convert_state_dict(foreign.passt(rows, columns)).config
    assert (config.patch_stride, config.position_frames, config.frame_shift_ms) == ([stride] * 2, frames, shift)
    assert (config.frequency_patches, config.time_patches(config.position_frames)) == (rows, columns)


def test_passt_whose_frame_shift_its_shapes_do_not_tell_is_refused_until_told():
    state = foreign.passt(columns=200)
    with pytest.raises(ValueError, match="a frame every 10 or 5 ms"):
        convert_state_dict(state)
    conversion = convert_state_dict(state, Told(frame_shift_ms=5.0))
    assert conversion.config.frame_shift_ms == conversion.features["frame_shift_ms"] == 5.0


def test_passt_features_are_its_own_but_for_half_a_shift():
    """PaSST's formula (32 kHz, emphasis of the clip, centred frames, Kaldi's triangles to 15 kHz), on a clip that is
    cut so that the frames of both lie alike."""
    wave = 0.1 * np.random.default_rng(0).standard_normal(32_000)
    emphasised = wave[1:] - 0.97 * wave[:-1]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(800) / 799)

    def mel(frequency):
        return 1127 * np.log1p(frequency / 700)

    edges = np.linspace(0, mel(15_000), 130)
    bins = mel(np.arange(513) * 32_000 / 1024)[:, None]
    triangles = np.minimum((bins - edges[:-2]) / np.diff(edges)[:-1], (edges[2:] - bins) / np.diff(edges)[1:]).clip(0)
    starts = 320 * np.arange(2, 97) - 400
    power = np.abs(np.fft.rfft([emphasised[start : start + 800] * hann for start in starts], 1024)) ** 2
    energy = power @ triangles
    extractor = LogMelFeatureExtractor(**passt_features(10.0))
    cut = wave[161:].astype(np.float32)  # half a shift, and the sample that emphasis costs PaSST
    got = extractor(cut, sampling_rate=32_000, return_tensors="np").input_features[0]
    np.testing.assert_allclose(got[1:96], (np.log(np.maximum(energy, 1e-5)) + 4.5) / 5, atol=1e-3)
    # PaSST adds where ours takes the larger: at most log(2) / 5 between them, and nothing where there is sound.
    apart = np.abs(got[1:96] - (np.log(energy + 1e-5) + 4.5) / 5)
    assert 0.01 < apart.max() < np.log(2) / 5
    assert apart[energy > 1e-2].max() < 1e-3


@pytest.mark.parametrize(("rows", "columns", "stride"), [(8, 64, 16), (12, 101, 10)])
def test_fine_tuned_audiomae_gives_its_own_logits(rows, columns, stride):
    state, features = foreign.audiomae(False, rows, columns), clips(1024)
    conversion = convert_state_dict(state)
    _, expected = foreign.reference_audiomae(state, features, stride)
    torch.testing.assert_close(logits_of(conversion, features), expected, atol=1e-5, rtol=0)
    config = conversion.config
    assert (config.final_norm, config.head_norm_eps, config.pooling, config.num_class_tokens) == (
        False,
        1e-6,
        "mean",
        1,
    )
    assert conversion.unused == ()


def test_pretrained_audiomae_is_an_encoder_row_by_row_and_its_decoder_is_listed():
    state, features = foreign.audiomae(True), clips(1024)
    conversion = convert_state_dict(state)
    expected, _ = foreign.reference_audiomae(state, features)
    with torch.no_grad():
        got = conversion.build()(features).last_hidden_state
    by_row = expected[:, 1:].unflatten(1, (64, 8)).transpose(1, 2).flatten(1, 2)
    torch.testing.assert_close(got, torch.cat([expected[:, :1], by_row], dim=1), atol=1e-5, rtol=0)
    assert set(conversion.unused) == {name for name in state if name.startswith(("decoder_", "mask_token"))}


@pytest.mark.parametrize(
    ("labels", "told", "several"), [(527, None, True), (7, None, False), (7, True, True), (527, False, False)]
)
def test_many_labels_of_audioset_hold_at_once_unless_told(labels, told, several):
    state = foreign.original_ast()
    state["module.mlp_head.1.weight"] = torch.zeros(labels, foreign.WIDTH)
    state["module.mlp_head.1.bias"] = torch.zeros(labels)
    config = convert_state_dict(state, Told(multi_label=told)).config
    assert config.problem_type == ("multi_label" if several else "single_label") + "_classification"


def test_half_precision_becomes_single():
    state = {name: tensor.half() for name, tensor in foreign.original_ast(columns=12).items()}
    tensors = convert_state_dict(state).state_dict
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}


def test_resampling_to_its_own_size_is_bit_equal():
    for state in (foreign.original_ast(), foreign.passt()):
        conversion = convert_state_dict(state)
        config = conversion.config
        same = resampled(conversion, config.position_frames, tuple(config.patch_stride))
        assert all(torch.equal(same.state_dict[name], tensor) for name, tensor in conversion.state_dict.items())
        assert same.notes == conversion.notes


def test_fewer_frames_keep_the_middle_columns_as_ast_does():
    state = foreign.original_ast()
    shorter = resampled(convert_state_dict(state), frames=512)
    table = state["module.v.pos_embed"][0, 2:].view(12, 101, -1)
    middle = table[:, 50 - 25 : 50 - 25 + 50]  # the AST authors' slice for 50 columns of 101
    assert torch.equal(shorter.state_dict["spectrogram_transformer.embeddings.positions.table"], middle)
    assert (shorter.config.position_frames, shorter.features["max_length"]) == (512, 512)
    assert "resampled from 12 x 101 to 12 x 50" in shorter.notes[-1]
    state["module.v.pos_embed"] = torch.cat([state["module.v.pos_embed"][:, :2], middle.reshape(1, 600, -1)], dim=1)
    _, expected = foreign.reference_under_v(state, clips(512), (10, 10), mean_of_two)
    torch.testing.assert_close(logits_of(shorter, clips(512)), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("frames", "stride", "grid"), [(2048, None, (12, 204)), (None, (16, 16), (8, 64))])
def test_more_frames_and_another_stride_stretch_the_table(frames, stride, grid):
    state = foreign.original_ast()
    other = resampled(convert_state_dict(state), frames, stride)
    table = state["module.v.pos_embed"][0, 2:].view(12, 101, -1).permute(2, 0, 1)[None]
    # Bilinear interpolation as the AST authors use it: axis by axis it is the same.
    expected = torch.nn.functional.interpolate(table, size=grid, mode="bilinear")[0].permute(1, 2, 0)
    got = other.state_dict["spectrogram_transformer.embeddings.positions.table"]
    torch.testing.assert_close(got, expected, atol=1e-7, rtol=1e-5)
    assert logits_of(other, clips(frames or 1024)).isfinite().all()


def test_factorized_tables_are_resampled_each_along_its_axis():
    conversion = convert_state_dict(foreign.passt())
    other = resampled(conversion, frames=500, stride=(16, 16))
    body = "spectrogram_transformer.embeddings.positions."
    assert other.state_dict[f"{body}frequency_table"].shape == (8, foreign.WIDTH)
    assert other.state_dict[f"{body}time_table"].shape == (31, foreign.WIDTH)
    assert logits_of(other, clips(500)).isfinite().all()


def test_a_stride_beyond_the_patch_is_refused():
    with pytest.raises(Exception, match="skips over"):
        resampled(convert_state_dict(foreign.original_ast()), stride=(20, 10))
