"""What is wrong with a checkpoint is said by name: missing, unknown, wrongly shaped, of another family, ambiguous."""

import re

import pytest
import torch

from aural.modeling.convert_dialect import convert_state_dict
from aural.modeling.convert_geometry import Grid, infer_grid
from aural.modeling.convert_shared import Told, count_heads
from tests import foreign


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    return foreign.original_ast(columns=12)


def refused(state, *parts: str, told: Told | None = None) -> None:
    with pytest.raises(ValueError, match=".*".join(map(re.escape, parts))):
        convert_state_dict(state, told)


def test_a_missing_name_is_named_with_the_nearest(state):
    state["module.v.blocks.1.norm1.wieght"] = state.pop("module.v.blocks.1.norm1.weight")
    near = "module.v.blocks.1.norm1.weight (nearest: module.v.blocks.1.norm1.wieght)"
    refused(state, "1 name missing: ", near, "1 name not known: module.v.blocks.1.norm1.wieght (nearest: ")


def test_a_whole_missing_layer_is_counted(state):
    for name in [name for name in state if ".blocks.0.attn" in name]:
        del state[name]
    refused(state, "4 names missing: module.v.blocks.0.attn.proj.bias, ")


def test_an_unknown_name_is_not_dropped_in_silence(state):
    state["module.v.blocks.0.adapter.weight"] = torch.zeros(2, 2)
    state["module.ema"] = torch.zeros(2)
    refused(state, "2 names not known: module.ema, module.v.blocks.0.adapter.weight")


def test_what_the_geometry_is_read_from_must_be_there(state):
    del state["module.v.pos_embed"]
    refused(state, "1 name missing: module.v.pos_embed")
    only = {name: tensor for name, tensor in foreign.original_ast().items() if ".blocks." not in name}
    refused(only, "it has no layers module.v.blocks.0.")


def test_a_half_head_is_not_taken_for_none(state):
    del state["module.mlp_head.1.bias"]
    refused(state, "1 name missing: module.mlp_head.1.bias")


@pytest.mark.parametrize(
    ("name", "shape", "said"),
    [
        ("module.v.blocks.1.mlp.fc2.weight", (64, 255), "(64, 255): must give layers.1.mlp.fc2.weight (64, 256) but"),
        ("module.v.blocks.0.attn.qkv.weight", (190, 64), "(190, 64): must give layers.0.attention.q_proj.weight"),
        ("module.v.dist_token", (1, 1, 32), "(1, 1, 32), module.v.pos_embed (1, 146, 64): must give embeddings."),
        ("module.v.pos_embed", (146, 64), "(146, 64) must have 3 axes"),
    ],
)
def test_a_wrong_shape_is_named(state, name, shape, said):
    state[name] = torch.zeros(shape)
    refused(state, name, said)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["conv_block1.conv1.weight"], "looks like PANNs"),
        (["layers.0.blocks.0.attn.relative_position_bias_table"], "looks like Swin or HTS-AT"),
        (["feature_extractor.conv_layers.0.conv.weight"], "looks like wav2vec 2.0"),
        (["listener.weight", "speller.weight"], "looks like aural's own Listen, Attend and Spell"),
        (["fc.weight", "fc.bias"], "of no known format (2 tensors: fc.weight, fc.bias, …)"),
    ],
)
def test_another_family_is_called_by_its_name_and_what_is_supported(names, said):
    refused({name: torch.zeros(2) for name in names}, said, "supported are the original AST, SSAST, PaSST, AudioMAE")


def test_a_model_of_images_is_refused():
    state = {"patch_embed.proj.weight": torch.zeros(8, 3, 16, 16), "cls_token": torch.zeros(1, 1, 8)}
    refused(state, "takes 3 channels: this is a model of images")


def test_a_bare_vit_must_be_told_apart():
    state = foreign.audiomae(False)
    for old, new in (("fc_norm.weight", "norm.weight"), ("fc_norm.bias", "norm.bias")):
        state[new] = state.pop(old)
    refused(state, "say which dialect it is")
    encoder = {name: tensor for name, tensor in state.items() if not name.startswith("head.")}
    conversion = convert_state_dict(encoder, Told(dialect="audiomae"))
    assert conversion.dialect == "AudioMAE, pre-trained"


def test_what_is_told_must_be_possible(state):
    refused(state, "dialect='clap' must be one of transformers, ast", told=Told(dialect="clap"))
    refused(state, "pooling='max' must be one of cls", told=Told(pooling="max"))
    refused(state, "of no known format", told=Told(dialect="transformers"))
    refused(state, "frame_shift_ms=5.0 cannot be told: AST, SSAST and", told=Told(frame_shift_ms=5.0))


@pytest.mark.parametrize(("width", "heads"), [(192, 3), (384, 6), (768, 12), (1024, 16), (1280, 16)])
def test_heads_of_published_widths(width, heads):
    assert count_heads(width, None) == heads


@pytest.mark.parametrize(
    ("positions", "size", "stride", "frames"),
    [
        (1212, (16, 16), (10, 10), 1024),  # AST on AudioSet
        (600, (16, 16), (10, 10), 512),  # ESC-50
        (144, (16, 16), (10, 10), 128),  # Speech Commands
        (512, (16, 16), (16, 16), 1024),  # SSAST's patches, AudioMAE
        (64, (16, 16), (16, 16), 128),  # AudioMAE on Speech Commands
        (850, (16, 16), (12, 12), 1024),
        (657, (16, 16), (14, 14), 1024),
        (512, (128, 2), (128, 2), 1024),  # SSAST's frames
        (1023, (128, 2), (128, 1), 1024),
    ],
)
def test_the_number_of_positions_settles_published_grids(positions, size, stride, frames):
    grid = infer_grid(positions, size)
    assert (grid.stride, grid.frames) == (stride, frames)
    assert grid.rows * grid.columns == positions


def test_an_uncustomary_length_is_the_shortest_that_fits_and_may_be_told():
    assert infer_grid(12 * 29, (16, 16)) == Grid(128, 296, (16, 16), (10, 10))
    assert infer_grid(12 * 29, (16, 16), frames=300) == Grid(128, 300, (16, 16), (10, 10))
    assert infer_grid(8 * 99, (16, 16), frames=1000, stride=(15, 10)).stride == (15, 10)


def test_an_ambiguous_grid_is_refused_with_the_candidates():
    with pytest.raises(
        ValueError, match=r"several grids fit, 12 x 30 \(frames=306, stride=10,10\); 10 x 36 \(frames="
    ):
        infer_grid(360, (16, 16))
    with pytest.raises(ValueError, match="several grids fit"):
        infer_grid(8 * 57, (16, 16), frames=128)


def test_a_grid_that_nothing_gives_is_refused_with_the_numbers():
    with pytest.raises(
        ValueError, match="1213 positions of patches of 16 mels by 16 frames, on 128 mels: no grid fits"
    ):
        infer_grid(1213, (16, 16))
    with pytest.raises(ValueError, match=r"with frames=512, stride=\(10, 10\): no grid fits"):
        infer_grid(1212, (16, 16), 512, (10, 10))
    with pytest.raises(ValueError, match="a patch is higher than the spectrogram"):
        infer_grid(512, (256, 2))
