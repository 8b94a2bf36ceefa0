"""generate(): cached and uncached, beams against exhaustive search, lengths that follow from frames."""

import itertools

import pytest
import torch
from transformers import GenerationConfig

from aural.modeling.las_cache import CACHE
from tests.tiny import VARIANTS, VOCABULARY, clips, tiny_las

KINDS = list(VARIANTS)
SCALES = {"multihead": 0.7, "slots": 0.5}  # of weights: larger ones saturate these, and hypotheses tie


def sum_of_log_probs(model, features, mask, tokens: list[int]) -> float:
    """Teacher-forced log-probability of `tokens`."""
    logits = model(features, mask, labels=torch.tensor([tokens])).logits[0]
    return logits.log_softmax(-1)[torch.arange(len(tokens)), torch.tensor(tokens)].sum().item()


def text_of(sequence: torch.Tensor) -> list[int]:
    """Tokens after the start token, up to and with the first <eos>; what follows fills the row (beams fill with 2)."""
    tokens = sequence[1:].tolist()
    return tokens[: tokens.index(2) + 1] if 2 in tokens else tokens


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("beams", [1, 4])
def test_cached_decoding_equals_uncached(kind, beams):
    for seed in range(4):
        model = tiny_las(seed=seed, scale=SCALES.get(kind, 1.0), **VARIANTS[kind])
        features, mask = clips([45, 30, 7], seed=seed)
        options = {
            "attention_mask": mask,
            "num_beams": beams,
            "num_return_sequences": beams,
            "return_dict_in_generate": True,
            "output_scores": True,
        }
        cached = model.generate(features, use_cache=True, **options)
        uncached = model.generate(features, use_cache=False, **options)
        assert torch.equal(cached.sequences, uncached.sequences)
        for mine, theirs in zip(cached.scores, uncached.scores, strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_beams_score_is_the_teacher_forced_score_of_its_text(kind):
    for seed in range(4):
        model = tiny_las(seed=seed, scale=SCALES.get(kind, 1.0), **VARIANTS[kind])
        model.lm_head.bias.data[2] += 6  # so that hypotheses end before their limit
        features, mask = clips([45])
        output = model.generate(
            features,
            attention_mask=mask,
            num_beams=4,
            num_return_sequences=4,
            length_penalty=0.0,
            return_dict_in_generate=True,
            output_scores=True,
        )
        for sequence, score in zip(output.sequences, output.sequences_scores, strict=True):
            tokens = text_of(sequence)
            assert len(tokens) < 16  # it ended by itself, not by its limit
            assert score.item() == pytest.approx(sum_of_log_probs(model, features, mask, tokens), abs=1e-3)


def test_a_wide_beam_finds_what_exhaustive_search_finds():
    steps = 4
    for seed in range(5):
        model = tiny_las(seed=seed)
        features, mask = clips([16], seed=seed)
        symbols = [4, 5, 6]
        model.lm_head.bias.data[[i for i in range(VOCABULARY) if i not in [2, *symbols]]] = -1e4
        candidates = [
            [*text, 2] for length in range(steps) for text in itertools.product(symbols, repeat=length)
        ]  # every text of up to three symbols, ended by <eos> within four steps
        scores = {tuple(text): sum_of_log_probs(model, features, mask, text) for text in candidates}
        best = max(scores, key=scores.get)
        output = model.generate(
            features,
            attention_mask=mask,
            num_beams=130,  # 40 ended texts and 81 that the limit cuts
            max_new_tokens=steps,
            length_penalty=0.0,
            early_stopping="never",
            num_return_sequences=130,
            return_dict_in_generate=True,
            output_scores=True,
        )
        found = {
            tuple(text_of(sequence)): score.item()
            for sequence, score in zip(output.sequences, output.sequences_scores, strict=True)
            if 2 in sequence and score > -5000  # beyond are forbidden symbols that fill the beam
        }
        assert max(found, key=found.get) == best
        assert set(found) == set(scores)  # all forty of them
        for text, score in found.items():
            assert score == pytest.approx(scores[text], abs=1e-3)


def test_decoding_a_batch_gives_each_clip_its_own_text():
    for beams in (1, 4):
        model = tiny_las(seed=3)
        lengths = [60, 33, 9]
        features, mask = clips(lengths)
        together = model.generate(features, attention_mask=mask, num_beams=beams)
        for row, length in enumerate(lengths):
            alone = model.generate(features[row : row + 1, :length], num_beams=beams)[0].tolist()
            mine = together[row].tolist()
            assert mine[: len(alone)] == alone
            assert set(mine[len(alone) :]) <= {0, 2}


def never_ending(**overrides):
    model = tiny_las(**overrides)
    model.lm_head.bias.data[2] = -1e4
    return model


@pytest.mark.parametrize("beams", [1, 3])
def test_the_longest_text_follows_from_each_clips_own_frames(beams):
    features, mask = clips([200, 100, 10])  # 2 s, 1 s, 0.1 s
    written = never_ending().generate(features, attention_mask=mask, num_beams=beams)
    ends = [row.tolist().index(2) - 1 for row in written]
    assert ends == [60, 30, 16]  # 30 tokens a second, at least 16


def test_a_text_that_runs_into_its_limit_pays_for_its_end():
    for seed in range(4):
        model = tiny_las(seed=seed, scale=0.5)
        model.lm_head.bias.data[2] = -6.0
        features, mask = clips([30], seed=seed)
        output = model.generate(
            features,
            attention_mask=mask,
            num_beams=3,
            length_penalty=0.0,
            return_dict_in_generate=True,
            output_scores=True,
        )
        tokens = text_of(output.sequences[0])
        assert len(tokens) == 17  # 16 and the end
        expected = sum_of_log_probs(model, features, mask, tokens)
        assert output.sequences_scores[0].item() == pytest.approx(expected, abs=1e-3)


def test_listener_outputs_serve_several_calls_unchanged():
    model = tiny_las()
    features, mask = clips([40, 30, 12])
    listened = model.model.listen(features, mask)
    expected = model.generate(features, attention_mask=mask).tolist()
    for _ in range(2):
        assert model.generate(encoder_outputs=listened, attention_mask=mask).tolist() == expected
    assert listened.last_hidden_state.shape[0] == 3


def test_three_hundred_characters_are_not_cut():
    features, mask = clips([2000])  # 20 s
    written = never_ending().generate(features, attention_mask=mask, num_beams=1)
    assert written.shape[1] == 1 + 600 + 1


def test_limits_can_be_changed_and_lifted():
    model = never_ending()
    features, _ = clips([100])
    assert model.generate(features, max_tokens_per_second=40, num_beams=1).shape[1] == 42
    assert model.generate(features, max_tokens_per_second=None, max_new_tokens=77, num_beams=1).shape[1] == 78
    assert model.generate(features, max_new_tokens=5).shape[1] == 6
    assert model.generate(features, max_length=7).shape[1] == 7
    with pytest.raises(ValueError, match="max_tokens_per_second=-1"):
        model.generate(features, max_tokens_per_second=-1)


def test_a_callers_own_processor_and_config_still_work():
    from transformers import GenerationConfig, LogitsProcessor, StoppingCriteria, StoppingCriteriaList

    class Only5(LogitsProcessor):
        def __call__(self, input_ids, scores):
            return scores.masked_fill(torch.arange(scores.shape[1]) != 5, -torch.inf)

    features, _ = clips([50])
    config = GenerationConfig(num_beams=1, max_new_tokens=3, eos_token_id=2, pad_token_id=0, decoder_start_token_id=1)
    written = tiny_las().generate(features, generation_config=config, logits_processor=[Only5()])
    assert written.tolist() == [[1, 5, 5, 5]]
    assert (
        tiny_las().generate(features, config, [Only5()]).tolist() == written.tolist()
    )  # by place, as in transformers

    class AtTwo(StoppingCriteria):
        def __call__(self, input_ids, scores, **kwargs):
            return torch.full((len(input_ids),), input_ids.shape[1] >= 2)

    assert tiny_las().generate(features, config, [Only5()], StoppingCriteriaList([AtTwo()])).tolist() == [[1, 5]]


def test_sampling_repeats_with_a_seed_and_varies_without():
    model = tiny_las(scale=0.3)
    features, mask = clips([60, 40])
    draws = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        draws.append(model.generate(features, attention_mask=mask, do_sample=True, num_beams=1).tolist())
    assert draws[0] == draws[1] != draws[2]


def test_generation_returns_the_alignment_of_every_step():
    model = tiny_las()
    features, mask = clips([40, 20])
    output = model.generate(
        features,
        attention_mask=mask,
        num_beams=1,
        max_new_tokens=6,
        output_attentions=True,
        return_dict_in_generate=True,
    )
    steps = torch.cat([step[0] for step in output.cross_attentions], dim=2)
    expected = model.attention_maps(features, mask, labels=output.sequences[:, 1:])["speller"]
    torch.testing.assert_close(steps[:, :, : expected.shape[2]], expected, atol=1e-5, rtol=0)


def test_decoding_is_re_entrant():
    model = tiny_las()
    first, second = clips([40], seed=1), clips([30], seed=2)
    alone = model(*second, decoder_input_ids=torch.tensor([[1, 4, 5]])).logits
    held = model(*first, decoder_input_ids=torch.tensor([[1, 6]]), use_cache=True)[CACHE]
    start = model(*second, decoder_input_ids=torch.tensor([[1, 4]]), use_cache=True)
    model(*first, decoder_input_ids=torch.tensor([[7]]), cache=held)  # another utterance in between
    rest = model(*second, decoder_input_ids=torch.tensor([[5]]), cache=start[CACHE])
    torch.testing.assert_close(torch.cat([start.logits, rest.logits], 1), alone, atol=1e-5, rtol=1e-5)


def test_a_callers_own_end_is_the_one_that_the_limit_leaves():
    model = never_ending()
    model.lm_head.bias.data[5] = -1e4
    features, _ = clips([50])
    for beams in (1, 2):
        assert text_of(model.generate(features, eos_token_id=5, num_beams=beams)[0])[16] == 5
    assert model.generate(features, eos_token_id=-1, num_beams=1, max_length=40).shape[1] == 40


@pytest.mark.parametrize("name", ["cache", "past_key_values"])  # from transformers 5.24 on, and before
def test_generation_goes_on_from_a_cache_as_if_it_had_not_stopped(name):
    for seed in range(3):
        model = never_ending(seed=seed)
        features, mask = clips([60])
        options = {"attention_mask": mask, "num_beams": 1, "return_dict_in_generate": True, "output_scores": True}
        whole = model.generate(features, max_new_tokens=9, **options)
        first = model.generate(features, max_new_tokens=4, **options)
        assert first[CACHE].get_seq_length() == 4  # the start token and three more
        options[name] = first[CACHE]
        rest = model.generate(features, decoder_input_ids=first.sequences, max_new_tokens=5, **options)
        assert rest[CACHE] is first[CACHE]
        assert rest[CACHE].get_seq_length() == 9  # each once
        assert rest.sequences.tolist() == whole.sequences.tolist()
        torch.testing.assert_close(rest.scores[-1], whole.scores[-1], atol=1e-5, rtol=1e-5)


def test_assisted_decoding_is_refused_in_words():
    model = tiny_las()
    for option in ({"assistant_model": tiny_las(seed=1)}, {"prompt_lookup_num_tokens": 3}):
        with pytest.raises(ValueError, match="assisted generation is not supported with stateful models"):
            model.generate(clips([20])[0], num_beams=1, **option)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attention_mask": torch.tensor([[0] * 20])}, "all padding"),
        ({"input_features": torch.randn(1, 20, 99)}, r"\(batch, frames, 6\)"),
        ({"input_features": None}, "input_features"),
    ],
)
def test_bad_input_to_generate_is_refused_by_name(options, message):
    options = {"input_features": clips([20])[0], **options}
    with pytest.raises(ValueError, match=message):
        tiny_las().generate(**options)


def test_the_limit_holds_for_listener_states_and_for_a_callers_own_config():
    model = never_ending()
    features, mask = clips([200, 100, 10])
    listened = model.get_encoder()(features, mask)
    config = GenerationConfig(num_beams=1, max_length=99, eos_token_id=2, pad_token_id=0, decoder_start_token_id=1)
    for written in (
        model.generate(encoder_outputs=listened, attention_mask=mask, num_beams=1),
        model.generate(features, attention_mask=mask, generation_config=config),
    ):
        assert [row.tolist().index(2) - 1 for row in written] == [60, 30, 16]


def test_of_several_ends_the_limit_leaves_the_first():
    model = never_ending()
    model.lm_head.bias.data[8] = -1e4
    assert model.generate(clips([50])[0], eos_token_id=[2, 8], num_beams=1)[0, -1] == 2


@pytest.mark.parametrize("token", [-1, 9])
def test_a_token_outside_the_vocabulary_is_refused_in_decoding_too(token):
    model = tiny_las().eval()
    features = torch.randn(1, 16, model.config.num_mel_bins)
    with torch.no_grad(), pytest.raises(IndexError):
        model(features, decoder_input_ids=torch.tensor([[1, token]]), use_cache=True)
