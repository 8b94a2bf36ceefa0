"""The bookkeeping of beam search: what transformers' own gives, with less done."""

import pytest
import torch
from transformers import GenerationMixin

from aural.modeling.beam_search import BeamSearchMixin
from tests.tiny import clips, tiny_las

OWN = ("_gather_beams", "_update_finished_beams")


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 7), (1, 2, 5), (3, 4, 2, 5)])
@pytest.mark.parametrize("dtype", [torch.long, torch.float32, torch.bool])
def test_hypotheses_are_gathered_as_by_transformers(shape, dtype):
    torch.manual_seed(0)
    tensor, index = torch.randint(0, 9, shape).to(dtype), torch.randint(shape[1], (shape[0], 6))
    chosen = BeamSearchMixin._gather_beams(tensor, index)
    assert chosen.dtype == dtype
    assert torch.equal(chosen, GenerationMixin._gather_beams(tensor, index))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"early_stopping": True},
        {"early_stopping": "never", "length_penalty": 2.0},
        {"length_penalty": -1.0, "max_length": 4},  # fewer end than there are beams
        {"do_sample": True},
        {"ctc_weight": 0.3},
    ],
)
@pytest.mark.parametrize("likely_end", [0, 3, 6])
def test_searches_give_what_they_give_with_transformers_own(options, likely_end, monkeypatch):
    features, mask = clips([45, 30, 7])
    model = tiny_las(ctc_weight=0.3)
    model.lm_head.bias.data[2] += likely_end

    def search():
        torch.manual_seed(1)
        return model.generate(
            features,
            attention_mask=mask,
            num_beams=5,
            num_return_sequences=5,
            return_dict_in_generate=True,
            output_scores=True,
            **options,
        )

    ours = search()
    for name in OWN:
        monkeypatch.delattr(BeamSearchMixin, name)
    theirs = search()
    for part in ("sequences", "sequences_scores", "beam_indices"):
        assert torch.equal(getattr(ours, part), getattr(theirs, part))


def test_what_has_ended_is_compared_only_when_another_ends(monkeypatch):
    features, mask = clips([45, 30, 7])
    model = tiny_las()
    model.lm_head.bias.data[2] = -1e4  # only the limit ends a text
    steps = []
    original = GenerationMixin._update_finished_beams
    monkeypatch.setattr(
        GenerationMixin,
        "_update_finished_beams",
        lambda self, **parts: steps.append(parts["cur_len"]) or original(self, **parts),
    )
    written = model.generate(features, attention_mask=mask, num_beams=3, max_length=8)
    assert written.shape == (3, 8)
    assert steps == [7]
