"""Joint decoding: against exhaustive search and against its own parts, by every way through `generate`."""

import itertools
from collections.abc import Iterable
from functools import partial

import pytest
import torch
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LogitsProcessor,
    MambaConfig,
    MambaForCausalLM,
)
from transformers.generation import LogitsProcessorList

from aural import LasForConditionalGeneration
from aural.modeling.joint_decoding import JointOptions
from aural.modeling.las_cache import CACHE
from aural.modeling.rescoring import joint_score, sequence_parts
from aural.processing.hot_words import hot_words
from aural.processing.tokenizers import train_tokenizer
from tests.joint import JOINT, everything, joint_las, joint_patches, tiny_lm, tiny_ngram
from tests.tiny import VOCABULARY, clips, tiny_las

SYMBOLS, STEPS, SEVEN = [4, 5, 6], 5, 7


class Everything:
    """Every text of up to four symbols and an end about one clip, and what each source says of it by itself."""

    def __init__(self, kind: str) -> None:
        self.model = JOINT[kind](seed=2, vocab_size=SEVEN)
        self.model.lm_head.bias.data[[0, 1, 3]] = -1e4
        self.features, _ = clips([36])
        texts = [text for n in range(STEPS) for text in itertools.product(SYMBOLS, repeat=n)]
        self.texts = [(*text, 2) for text in texts]
        self.options = everything(SEVEN)
        inputs = torch.tensor([[1, *text, *[0] * (STEPS - 1 - len(text))] for text in texts])
        self.targets = torch.tensor([[*text, *[2] * (STEPS - len(text))] for text in texts])
        self.lengths = torch.tensor([len(text) for text in self.texts])
        self.real = torch.arange(STEPS) < self.lengths[:, None]
        with torch.no_grad():
            output = self.model(self.features, decoder_input_ids=inputs, output_attentions=True)
            self.log_probs = output.logits.log_softmax(-1)
            self.parts = {
                "attention": self.of_targets(self.log_probs),
                "ctc": self.by_ctc(texts),
                "lm": self.of_targets(self.options["lm"](inputs).logits.log_softmax(-1)),
                "ngram": torch.tensor([self.by_ngram(text) for text in self.texts]),
                "coverage": self.by_coverage(output.cross_attentions[-1]),
            }

    def of_targets(self, log_probs: torch.Tensor) -> torch.Tensor:
        each = log_probs.gather(2, self.targets[..., None])[..., 0]
        return (each * self.real).sum(-1)

    def by_ctc(self, texts: list[tuple[int, ...]]) -> torch.Tensor:
        logits = self.model.ctc_head(self.model.listen(self.features).ctc_states)[0]
        log_probs = logits.double().log_softmax(-1)[:, None].expand(-1, len(texts), -1)
        frames = torch.full((len(texts),), len(logits))
        return -torch.nn.functional.ctc_loss(log_probs, self.targets, frames, self.lengths - 1, reduction="none")

    def by_ngram(self, text: tuple[int, ...]) -> float:
        table, state, total = self.options["ngram"], 3, 0.0
        for token in text:
            total += table.log_probs[state, token].item()
            state = int(table.next_state[state, token])
        return total

    def by_coverage(self, attention: torch.Tensor) -> torch.Tensor:
        summed = (attention.mean(1) * self.real[..., None]).sum(1)
        return (summed > self.options["coverage_threshold"]).sum(-1).double()

    def allowed(self, threshold: float) -> torch.Tensor:
        """Texts whose end is likely enough where they end."""
        at_end = self.log_probs[torch.arange(len(self.texts)), self.lengths - 1]
        return at_end[:, 2] > threshold * at_end[:, [0, 1, 3, 4, 5, 6]].amax(-1)

    def scores(self, used: Iterable[str], threshold: float | None, penalty: float) -> dict[tuple[int, ...], float]:
        weights = {name: self.options[f"{name}_weight"] for name in used}
        total = sum(weight * self.parts[name] for name, weight in weights.items())
        total = (total + (1 - weights.get("ctc", 0)) * self.parts["attention"]) / self.lengths**penalty
        keep = torch.ones(len(self.texts)).bool() if threshold is None else self.allowed(threshold)
        return {text: score for text, score, k in zip(self.texts, total.tolist(), keep, strict=True) if k}


@pytest.fixture(scope="module", params=JOINT)
def searched(request) -> Everything:
    return Everything(request.param)


SOURCES = ["ctc", "lm", "ngram", "coverage"]
SUBSETS = [used for n in range(len(SOURCES) + 1) for used in itertools.combinations(SOURCES, n)]


@pytest.mark.parametrize("penalty", [0.0, 0.7])
@pytest.mark.parametrize("threshold", [None, 1.5])
@pytest.mark.parametrize("used", SUBSETS, ids="+".join)
def test_a_beam_as_wide_as_the_space_finds_what_exhaustive_search_finds(searched, used, threshold, penalty):
    options = {k: v for k, v in searched.options.items() if k.split("_")[0] in used}
    output = searched.model.generate(
        searched.features,
        num_beams=370,  # 121 ended texts, 243 that the limit cuts, and a few
        num_return_sequences=370,
        max_new_tokens=STEPS,
        early_stopping="never",
        length_penalty=penalty,
        eos_threshold=threshold,
        return_dict_in_generate=True,
        output_scores=True,
        **options,
    )
    expected = searched.scores(used, threshold, penalty)
    found = {}
    for sequence, score in zip(output.sequences.tolist(), output.sequences_scores.tolist(), strict=True):
        tokens = sequence[1:]
        if 2 in tokens and score > -500:  # beyond are forbidden symbols, which fill the beam
            found[tuple(tokens[: tokens.index(2) + 1])] = score
    assert found == pytest.approx(expected, abs=1e-3)
    assert max(found, key=found.get) == max(expected, key=expected.get)
    if threshold is not None:
        assert 0 < len(expected) < len(searched.texts)


def decode(model, features, mask=None, **options):
    """`generate`, with the scores of the beams."""
    listened = model.listen(features, mask)
    output = model.generate(
        encoder_outputs=listened, return_dict_in_generate=True, output_scores=True, length_penalty=0.0, **options
    )
    return listened, output


@pytest.mark.parametrize(
    "make",
    [
        joint_las,
        partial(joint_las, attention_kind="multihead", attention_heads=2, query_layer="first"),
        partial(joint_las, attention_kind="dot", memory_slots=3),
        joint_patches,
    ],
    ids=["location", "multihead", "slots", "patches"],
)
def test_a_beams_total_is_the_sum_of_its_parts_recomputed_from_the_text(make):
    options = everything()
    for seed in range(3):
        model = make(seed=seed)
        model.lm_head.bias.data[2] += 3  # so that most hypotheses end before their limit
        features, mask = clips([60, 44, 23], seed=seed)
        listened, output = decode(model, features, mask, num_beams=5, num_return_sequences=5, **options)
        parts = sequence_parts(model, listened, output.sequences, JointOptions(**options))
        assert set(parts) == {"attention", "ctc", "lm", "ngram", "coverage", "length"}
        expected = joint_score(parts, JointOptions(**options))
        torch.testing.assert_close(output.sequences_scores.double(), expected, atol=2e-3, rtol=1e-4)


def rotary():
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        bos_token_id=1,
        eos_token_id=2,
    )
    return LlamaForCausalLM(config)


def recurrent():
    return MambaForCausalLM(MambaConfig(vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=1, state_size=4))


@pytest.mark.parametrize("make", [rotary, recurrent])
def test_language_models_of_any_kind_follow_the_beams(make):
    torch.manual_seed(0)
    model, lm = joint_las(), make().eval()
    for parameter in lm.parameters():
        parameter.data.mul_(3)
    features, mask = clips([60, 44])
    listened, output = decode(
        model, features, mask, num_beams=4, num_return_sequences=4, lm=lm, lm_weight=2.0, max_new_tokens=8
    )
    parts = sequence_parts(model, listened, output.sequences, JointOptions(lm=lm, lm_weight=2.0))
    expected = joint_score(parts, JointOptions(lm=lm, lm_weight=2.0))
    torch.testing.assert_close(output.sequences_scores.double(), expected, atol=2e-3, rtol=1e-4)


@pytest.mark.parametrize("kind", JOINT)
def test_parts_of_padded_clips_equal_those_of_the_clips_alone(kind):
    model, options = JOINT[kind](), JointOptions(**everything())
    features, mask = clips([60, 31])
    sequences = torch.tensor([[1, 4, 5, 5, 2], [1, 7, 2, 0, 0], [1, 8, 4, 8, 8], [1, 2, 0, 0, 0]])
    together = sequence_parts(model, model.listen(features, mask), sequences, options)
    for clip, length in enumerate([60, 31]):
        listened = model.listen(features[clip : clip + 1, :length])
        alone = sequence_parts(model, listened, sequences[2 * clip : 2 * clip + 2], options)
        for name, part in alone.items():
            torch.testing.assert_close(together[name][2 * clip : 2 * clip + 2], part, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("kind", JOINT)
def test_greedy_search_takes_what_scores_best_by_the_text_so_far(kind):
    options = everything()
    for seed in range(2):
        model = JOINT[kind](seed=seed)
        features, mask = clips([50, 30], seed=seed)
        _, output = decode(model, features, mask, num_beams=1, max_new_tokens=6, **options)
        for clip, row in enumerate(output.sequences):
            heard = model.listen(features[clip : clip + 1, : [50, 30][clip]])
            for at in range(1, len(row)):
                every = torch.cat([row[:at].expand(VOCABULARY, -1), torch.arange(VOCABULARY)[:, None]], dim=1)
                parts = sequence_parts(model, heard, every, JointOptions(**options))
                scores = joint_score(parts, JointOptions(**options))
                assert scores.argmax() == row[at]
                if row[at] == 2:
                    break
                step = output.scores[at - 1][clip].log_softmax(-1)  # logits: up to a number per row
                torch.testing.assert_close(step, scores.float().log_softmax(-1), atol=2e-3, rtol=1e-4)


@pytest.mark.parametrize("kind", JOINT)
@pytest.mark.parametrize("beams", [1, 4])
def test_a_batch_of_clips_gives_each_its_own_text(beams, kind):
    model, lengths, options = JOINT[kind](seed=3), [60, 33, 9], everything()
    features, mask = clips(lengths)
    together = model.generate(features, attention_mask=mask, num_beams=beams, **options)
    padded = torch.nn.functional.pad(features, (0, 0, 0, 40), value=7.0)
    longer = model.generate(padded, attention_mask=torch.nn.functional.pad(mask, (0, 40)), num_beams=beams, **options)
    assert longer.tolist() == together.tolist()
    for row, length in enumerate(lengths):
        alone = model.generate(features[row : row + 1, :length], num_beams=beams, **options)[0].tolist()
        mine = together[row].tolist()
        assert mine[: len(alone)] == alone
        assert set(mine[len(alone) :]) <= {0, 2}


@pytest.mark.parametrize("kind", JOINT)
def test_joint_sampling_repeats_with_a_seed_and_draws_by_the_joint_scores(kind):
    model, options = JOINT[kind](scale=0.3), everything()
    features, mask = clips([60, 40])
    for beams in (1, 3):
        draws = []
        for seed in (0, 0, 1):
            torch.manual_seed(seed)
            drawn = model.generate(
                features, attention_mask=mask, do_sample=True, num_beams=beams, max_new_tokens=8, **options
            )
            draws.append(drawn.tolist())
        assert draws[0] == draws[1] != draws[2]
    # Several texts per clip, as rows of one batch: the joint score says what each token's chance is.
    listened, output = decode(
        model, features, mask, do_sample=True, num_beams=1, num_return_sequences=3, max_new_tokens=1, **options
    )
    every = torch.stack([torch.ones(VOCABULARY).long(), torch.arange(VOCABULARY)], dim=1).repeat(2, 1)
    parts = sequence_parts(model, listened, every, JointOptions(**options))
    chances = joint_score(parts, JointOptions(**options)).view(2, -1).softmax(-1).repeat_interleave(3, 0)
    torch.testing.assert_close(output.scores[0].softmax(-1).double(), chances, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("kind", JOINT)
def test_two_joint_decodings_at_once_do_not_disturb_each_other(kind):
    model, options = JOINT[kind](), everything()
    first, second = clips([50, 20], seed=1), clips([40], seed=2)

    class DecodeAnother(LogitsProcessor):
        def __init__(self) -> None:
            self.texts: list = []

        def __call__(self, input_ids, scores):
            self.texts.append(model.generate(second[0], num_beams=2, **options).tolist())
            return scores

    options["max_new_tokens"] = 5
    other, ours = {"attention_mask": first[1], "num_beams": 3, **options}, DecodeAnother()
    alone = model.generate(first[0], **other).tolist()
    assert model.generate(first[0], logits_processor=LogitsProcessorList([ours]), **other).tolist() == alone
    assert len(ours.texts) > 1
    assert all(text == model.generate(second[0], num_beams=2, **options).tolist() for text in ours.texts)


@pytest.mark.parametrize("kind", JOINT)
@pytest.mark.parametrize("name", ["cache", "past_key_values"])  # from transformers 5.24 on, and before
def test_joint_decoding_goes_on_from_a_cache_as_if_it_had_not_stopped(name, kind):
    model, options = JOINT[kind](), everything()
    model.lm_head.bias.data[2] = -1e4
    features, mask = clips([60])
    options |= {"attention_mask": mask, "num_beams": 1, "return_dict_in_generate": True, "output_scores": True}
    whole = model.generate(features, max_new_tokens=9, **options)
    first = model.generate(features, max_new_tokens=4, **options)
    again = {name: first[CACHE], "decoder_input_ids": first.sequences, "max_new_tokens": 5}
    with pytest.raises(ValueError, match="was made with other options: lm_weight"):
        model.generate(features, **again, **{**options, "lm_weight": 0.1})
    rest = model.generate(features, **again, **options)
    assert rest.sequences.tolist() == whole.sequences.tolist()
    torch.testing.assert_close(rest.scores[-1], whole.scores[-1], atol=1e-4, rtol=1e-4)
    bare = model.generate(features, attention_mask=mask, num_beams=1, max_new_tokens=4, return_dict_in_generate=True)
    with pytest.raises(ValueError, match="holds nothing that scores beside the decoder"):
        model.generate(features, **{**again, name: bare[CACHE]}, **options)


@pytest.mark.parametrize("kind", JOINT)
@pytest.mark.parametrize("beams", [1, 3])
def test_a_prompt_is_read_by_every_companion(beams, kind):
    model, options = JOINT[kind](), everything()
    features, mask = clips([60, 44])
    prompt = torch.tensor([[1, 4, 7, 4], [1, 5, 5, 8]])
    listened, output = decode(
        model, features, mask, decoder_input_ids=prompt, num_beams=beams, max_new_tokens=1, **options
    )
    every = torch.cat([prompt.repeat_interleave(VOCABULARY, 0), torch.arange(VOCABULARY).repeat(2)[:, None]], dim=1)
    parts = sequence_parts(model, listened, every, JointOptions(**options))
    scores = joint_score(parts, JointOptions(**options)).view(2, 1, -1).float()
    written = output.scores[0].view(2, beams, -1)
    torch.testing.assert_close(
        written.log_softmax(-1), scores.expand_as(written).log_softmax(-1), atol=2e-3, rtol=1e-4
    )
    attention = model(features, mask, prompt, output_attentions=True).cross_attentions[-1].mean(1)
    attended = output[CACHE].companions[-1].attended
    torch.testing.assert_close(attended, attention.sum(1).repeat_interleave(beams, 0), atol=1e-4, rtol=1e-4)


def test_memory_and_ctc_are_held_once_per_utterance_at_eight_beams():
    model = joint_las()
    features, mask = clips([60, 44])
    listened, output = decode(model, features, mask, num_beams=8, ctc_weight=0.4, coverage_weight=0.1)
    cache = output[CACHE]
    assert cache.memory.keys.shape[0] == cache.memory.values.shape[0] == 2
    assert listened.last_hidden_state.shape[0] == 2
    assert cache.companions[0].prefix.log_probs.shape[0] == 2
    assert cache.companions[0].prefix.state.shape[0] == cache.batch_size == 16


def test_ctc_alone_decodes_what_ctc_finds_likeliest_whatever_the_speller_says():
    texts = []
    for seed in (0, 1):
        model = joint_las(seed=4, ctc_weight=1, vocab_size=6)
        assert "ctc_weight" not in vars(model.generation_config)  # a speller that is trained later has its say again
        torch.manual_seed(seed)
        for part in (model.model.speller, model.lm_head):
            for parameter in part.parameters():
                parameter.data.normal_()
        features, mask = clips([24])  # six CTC states
        texts.append(model.generate(features, attention_mask=mask, num_beams=40, length_penalty=0.0).tolist())
    assert texts[0] == texts[1]
    logits = model.ctc_head(model.listen(features).ctc_states)[0].double()
    logits[:, 2] = -torch.inf  # an end is no sound
    log_probs, scores = logits.log_softmax(-1)[:, None], {}
    for text in (text for n in range(5) for text in itertools.product([1, 3, 4, 5], repeat=n)):
        target, lengths = torch.tensor([text], dtype=torch.long), torch.tensor([len(text)])
        loss = torch.nn.functional.ctc_loss(log_probs, target, torch.tensor([6]), lengths, reduction="sum")
        scores[text] = -loss.item()
    assert tuple(texts[0][0][1:-1]) == max(scores, key=scores.get)


@pytest.mark.parametrize("kind", JOINT)
def test_ctc_looks_at_the_spellers_candidates_only(kind):
    model = JOINT[kind]()
    features, mask = clips([80, 70])
    options = {"num_beams": 3, "ctc_weight": 0.6, "max_new_tokens": 7}
    _, every = decode(model, features, mask, **options)
    _, all_of_them = decode(model, features, mask, ctc_candidates=VOCABULARY, **options)
    assert all_of_them.sequences.tolist() == every.sequences.tolist()
    torch.testing.assert_close(all_of_them.sequences_scores, every.sequences_scores, atol=1e-4, rtol=1e-5)
    listened, two = decode(model, features, mask, ctc_candidates=2, **options)
    for step in two.scores:
        assert ((step > -1e5).sum(-1) == 3).all()  # two and the end
        assert (step[:, 2] > -1e5).all()
    parts = sequence_parts(model, listened, two.sequences, JointOptions(ctc_weight=0.6))
    expected = joint_score(parts, JointOptions(ctc_weight=0.6))
    torch.testing.assert_close(two.sequences_scores.double(), expected, atol=2e-3, rtol=1e-4)


@pytest.mark.parametrize("kind", JOINT)
def test_an_end_that_is_not_likely_enough_must_wait_but_not_beyond_the_limit(kind):
    model = JOINT[kind]()
    model.lm_head.bias.data[2] += 3
    features, mask = clips([40])
    options = {"attention_mask": mask, "max_new_tokens": 12}
    for beams in (1, 4):
        early = model.generate(features, num_beams=beams, **options)[0].tolist()
        late = model.generate(features, num_beams=beams, eos_threshold=1e-6, **options)[0].tolist()
        assert 2 in early and 2 not in late
        limited = model.generate(features, attention_mask=mask, num_beams=beams, eos_threshold=1e-6)[0].tolist()
        assert limited.index(2) == 17  # 0.4 s: sixteen tokens, then the end
    uncached = model.generate(features, num_beams=4, eos_threshold=1.2, use_cache=False, **options)
    assert uncached.tolist() == model.generate(features, num_beams=4, eos_threshold=1.2, **options).tolist()


def test_hot_words_add_their_bias_to_what_a_text_scores_by_its_parts():
    tokenizer = train_tokenizer([" abcd"])  # nine symbols: those of the model
    model, options = joint_las(seed=1), everything()
    model.lm_head.bias.data[2] += 3
    model.lm_head.bias.data[[0, 1, 3]] = -1e4  # text only
    features, mask = clips([60, 44])
    before = model.generate(features, attention_mask=mask, num_beams=5, **options)
    assert "dab" not in " ".join(tokenizer.batch_decode(before, skip_special_tokens=True)).split()
    biases = hot_words(tokenizer, {"dab": 15.0})
    listened, output = decode(
        model, features, mask, num_beams=5, num_return_sequences=5, sequence_bias=biases, **options
    )
    parts = sequence_parts(model, listened, output.sequences, JointOptions(**options))
    gained = output.sequences_scores - joint_score(parts, JointOptions(**options))
    ended = [row[1:].tolist() for row in output.sequences]
    texts = [tokenizer.decode(row[: row.index(2)]) if 2 in row else None for row in ended]
    counts = [None if text is None else text.split().count("dab") for text in texts]
    assert max(count for count in counts if count is not None) > 0
    for count, gain in zip(counts, gained.tolist(), strict=True):
        assert count is None or gain == pytest.approx(15 * count, abs=5e-3)


def test_the_numbers_are_saved_with_the_model(tmp_path):
    model = joint_las()
    features, mask = clips([50])
    plain = model.generate(features, attention_mask=mask, num_beams=3)
    joint = model.generate(features, attention_mask=mask, num_beams=3, ctc_weight=0.9, coverage_weight=0.5)
    assert joint.tolist() != plain.tolist()
    model.generation_config.ctc_weight, model.generation_config.coverage_weight = 0.9, 0.5
    model.generation_config.lm_weight = 0.2  # for whoever passes a language model
    model.save_pretrained(tmp_path)
    loaded = LasForConditionalGeneration.from_pretrained(tmp_path)
    assert loaded.generate(features, attention_mask=mask, num_beams=3).tolist() == joint.tolist()
    off = loaded.generate(features, attention_mask=mask, num_beams=3, ctc_weight=0, coverage_weight=None)
    assert off.tolist() == plain.tolist()
    with_lm = loaded.generate(features, attention_mask=mask, num_beams=3, lm=tiny_lm())
    options = {"lm": tiny_lm(), "lm_weight": 0.2, "ctc_weight": 0.9, "coverage_weight": 0.5}
    assert with_lm.tolist() == model.generate(features, attention_mask=mask, num_beams=3, **options).tolist()


@pytest.mark.parametrize("kind", JOINT)
def test_listener_outputs_serve_joint_decoding_unchanged_and_heard_once(kind):
    model, options = JOINT[kind](), everything()
    features, mask = clips([40, 30, 12])
    calls: list = []
    model.get_encoder().register_forward_hook(lambda *_: calls.append(1))
    expected = model.generate(features, attention_mask=mask, **options).tolist()
    assert len(calls) == 1
    listened = model.listen(features, mask)
    for _ in range(2):
        assert model.generate(encoder_outputs=listened, attention_mask=mask, **options).tolist() == expected
    assert listened.last_hidden_state.shape[0] == 3
    assert len(calls) == 2


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"ctc_weight": 1.5}, ValueError, r"ctc_weight=1.5 must be a number from 0 to 1"),
        ({"ctc_weight": "much"}, ValueError, "ctc_weight='much'"),
        ({"ctc_weight": True}, ValueError, "ctc_weight=True"),
        ({"ctc_weight": 0.3, "ctc_candidates": 0}, ValueError, "ctc_candidates=0 must be"),
        ({"ctc_weight": 1, "ctc_candidates": 5}, ValueError, "ctc_candidates=5 goes by the decoder"),
        ({"ctc_weight": 1, "eos_threshold": 2.0}, ValueError, "eos_threshold=2.0 goes by the decoder"),
        ({"coverage_weight": float("nan")}, ValueError, "coverage_weight=nan"),
        ({"coverage_weight": 1, "coverage_threshold": 0}, ValueError, "coverage_threshold=0 must be a number above 0"),
        ({"eos_threshold": -1}, ValueError, "eos_threshold=-1 must be"),
        ({"lm_weight": 0.2}, ValueError, "lm_weight=0.2 without lm"),
        ({"ngram_weight": 0.2}, ValueError, "ngram_weight=0.2 without ngram"),
        ({"lm": tiny_lm(), "lm_weight": -1}, ValueError, "lm_weight=-1 must be a number at least 0"),
        ({"lm": "gpt2"}, TypeError, "lm is a str"),
        ({"ngram": {}}, TypeError, "ngram is a dict; allowed: an NGramTable"),
        ({"lm": tiny_lm(vocab_size=11)}, ValueError, r"lm \(GPT2LMHeadModel\) has vocab_size=11, the recogniser 9"),
        ({"lm": tiny_lm().train()}, ValueError, r"call lm.eval\(\)"),
        ({"lm": tiny_lm(positions=16)}, ValueError, "has 16 positions, a text may have 17 tokens: pass max_length=17"),
        ({"ngram": tiny_ngram(vocab_size=11)}, ValueError, "ngram has 11 tokens, the recogniser 9"),
        ({"ctc_weight": 0.3, "use_cache": False}, ValueError, "use_cache=False"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_by_name(options, error, message):
    with pytest.raises(error, match=message):
        joint_las().generate(clips([20])[0], num_beams=2, **options)


def test_what_a_model_lacks_is_refused_by_name():
    features, _ = clips([20])
    with pytest.raises(ValueError, match=r"ctc_weight=0\.3: this model has no ctc_head"):
        tiny_las().generate(features, ctc_weight=0.3)
    listened = joint_las().listen(features)
    with pytest.raises(ValueError, match=r"ctc_weight=0\.3: encoder_outputs hold no ctc_states"):
        joint_las().generate(encoder_outputs=(listened.last_hidden_state,), ctc_weight=0.3)
    with pytest.raises(ValueError, match="coverage_weight=1: attention_kind='none' covers no frames"):
        joint_las(attention_kind="none").generate(features, coverage_weight=1)
    joint_las().generate(features, lm=tiny_lm(positions=16), max_length=17)  # as the message says
    config = GenerationConfig(max_new_tokens=16, eos_token_id=2, pad_token_id=0, decoder_start_token_id=1)
    joint_las().generate(features, generation_config=config, lm=tiny_lm(positions=16))
