"""The patch transformer that writes: loss, padding, decoding by every strategy, attention, folders, GPT-2 inside."""

import itertools
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForSpeechSeq2Seq,
    BertConfig,
    BertLMHeadModel,
    EncoderDecoderCache,
    GPT2Config,
    GPT2LMHeadModel,
    LogitsProcessor,
    LogitsProcessorList,
    pipeline,
)
from transformers.cache_utils import DynamicCache

from aural import (
    AuralProcessor,
    LogMelFeatureExtractor,
    SpectrogramTransformerForConditionalGeneration,
    TextDecoderConfig,
    train_tokenizer,
)
from aural.modeling.companion_cache import CACHE, TextCache
from aural.modeling.maps import as_grid
from tests.tiny_spectrogram import MELS, spectrograms, tiny_spectrogram, tiny_writer
from tests.whole import wave

Writer = SpectrogramTransformerForConditionalGeneration
LABELS = torch.tensor([[5, 6, 6, 2], [7, 2, -100, -100]])


def text_of(sequence: torch.Tensor) -> list[int]:
    """Tokens after the start token, up to and with the first <eos>."""
    tokens = sequence[1:].tolist()
    return tokens[: tokens.index(2) + 1] if 2 in tokens else tokens


# --- forward and loss ---


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_loss_is_cross_entropy_and_ctc_per_label(weight):
    model = tiny_writer(ctc_weight=weight, label_smoothing=0.1)
    features, mask = spectrograms([40, 25])
    with torch.no_grad():
        output = model(features, mask, labels=LABELS)
        read = model(features, mask, torch.tensor([[1, 5, 6, 6], [1, 7, 2, 0]])).logits
    torch.testing.assert_close(output.logits, read)
    entropy = ctc = 0.0
    for row, text in enumerate([[5, 6, 6, 2], [7, 2]]):
        log_probs = read[row, : len(text)].log_softmax(-1)
        for at, token in enumerate(text):
            entropy -= 0.9 * log_probs[at, token].item() + 0.1 * log_probs[at].mean().item()
        if weight:
            alone = model.spectrogram_transformer(features[row : row + 1, : [40, 25][row]]).last_hidden_state
            columns = alone.unflatten(1, (3, -1)).mean(1)[0]  # three rows
            frames, target = torch.tensor(len(columns)), torch.tensor(text[:-1])
            heard = model.ctc_head(columns).log_softmax(-1)[:, None]
            ctc += torch.nn.functional.ctc_loss(
                heard, target[None], frames, torch.tensor([len(target)]), reduction="sum"
            )
    expected = ((1 - weight) * entropy + weight * ctc) / 6
    assert output.loss.item() == pytest.approx(float(expected), rel=1e-5)
    assert model(features, mask, labels=LABELS, num_items_in_batch=12).loss.item() * 2 == pytest.approx(
        float(expected)
    )


def test_ctc_can_learn_another_text_than_the_decoder():
    features, mask = spectrograms([40, 25])
    other = torch.tensor([[7, 7, 8, 2], [6, 5, 2, -100]])
    losses = {}
    for weight in (0.0, 0.3, 1.0):
        model = tiny_writer(ctc_weight=0.3).eval()  # the same weights each time
        model.config.ctc_weight = weight
        said = {"labels": other if weight == 1 else LABELS, "num_items_in_batch": 10}
        losses[weight] = model(features, mask, **said, ctc_targets=other if weight == 0.3 else None).loss.item()
    assert losses[0.3] == pytest.approx(0.7 * losses[0.0] + 0.3 * losses[1.0], rel=1e-5)
    with pytest.raises(ValueError, match="labels"):
        tiny_writer(ctc_weight=0.3)(features, mask, labels=LABELS, ctc_targets=other[:1])
    with pytest.raises(ValueError, match="there is no CTC head"):
        tiny_writer(ctc_weight=0.0)(features, mask, labels=LABELS, ctc_targets=other)


@pytest.mark.parametrize("weight", [0.0, 0.4])
def test_accumulated_batches_equal_one_large_batch(weight):
    model = tiny_writer(ctc_weight=weight)
    features, mask = spectrograms([40, 25, 30, 33])
    labels = LABELS.repeat(2, 1)
    model(features, mask, labels=labels).loss.backward()
    expected = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    for i in range(4):
        part = slice(i, i + 1)
        model(features[part], mask[part], labels=labels[part], num_items_in_batch=torch.tensor(12)).loss.backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], atol=1e-5, rtol=1e-4)


def test_with_ctc_alone_only_the_encoder_and_its_head_learn():
    model = tiny_writer(ctc_weight=1).train()
    output = model(*spectrograms([40, 25]), labels=LABELS)
    assert output.logits is None
    output.loss.backward()
    learn = {name.split(".")[0] for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert learn == {"spectrogram_transformer", "ctc_head"}
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("classes", ["mean", "cls"])
@pytest.mark.parametrize("filling", [0.0, 7.0, float("nan")])
def test_a_clip_in_a_padded_batch_equals_the_clip_alone(classes, filling):
    model = tiny_writer(ctc_weight=0.3, encoder={"pooling": classes})
    lengths = [40, 23, 3]
    features, mask = spectrograms(lengths)
    features = features.masked_fill(mask[..., None] == 0, filling)
    labels = torch.tensor([[5, 6, 6, 2], [7, 5, 2, -100], [2, -100, -100, -100]])
    together = model(features, mask, labels=labels)
    losses = []
    for row, length in enumerate(lengths):
        real = labels[row : row + 1, : (labels[row] != -100).sum()]
        alone = model(features[row : row + 1, :length], labels=real, num_items_in_batch=1)
        mine = together.logits[row : row + 1, : real.shape[1]]
        torch.testing.assert_close(mine, alone.logits, atol=1e-5, rtol=1e-5)
        losses.append(alone.loss)
    torch.testing.assert_close(together.loss, sum(losses) / 8, atol=1e-5, rtol=1e-5)


def test_half_precision_stays_finite():
    model = tiny_writer(ctc_weight=0.3).to(torch.bfloat16).train()
    output = model(*spectrograms([40, 3]), labels=torch.tensor([[5, 6, 2], [2, -100, -100]]))
    output.loss.backward()
    assert output.loss.isfinite()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    model.eval().generate(*spectrograms([40])[:1], max_new_tokens=4)


def test_patchout_and_checkpointing_train_with_ctc():
    model = tiny_writer(ctc_weight=0.3, encoder={"patchout_frequency": 0.4}).train()
    model.gradient_checkpointing_enable()
    model(*spectrograms([40, 25]), labels=LABELS).loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"labels": torch.tensor([[9, 2], [4, 2]])}, r"labels\[0, 0\]=9 is outside the vocabulary"),
        ({"labels": torch.tensor([[4, 2]])}, r"must be \(batch=2, targets\)"),
        ({"labels": torch.full((2, 30), 5)}, "labels row 0 cannot be aligned by CTC"),
        ({"decoder_input_ids": torch.ones(3, 2).long()}, "decoder_input_ids has 3 rows for 2 clips"),
        ({"input_features": None}, "pass input_features"),
        ({"attention_mask": torch.tensor([[1] * 40, [0] * 40])}, "row 1 is all padding"),
        ({"cache": TextCache(), "past_key_values": TextCache()}, "two names of one argument"),
    ],
)
def test_bad_input_is_refused_by_name(given, message):
    features, mask = spectrograms([40, 25])
    with pytest.raises(ValueError, match=message):
        tiny_writer(ctc_weight=0.3)(**{"input_features": features, "attention_mask": mask, **given})


# --- decoding ---


@pytest.mark.parametrize("positions", ["sinusoidal", "learned"])
@pytest.mark.parametrize("beams", [1, 4])
def test_cached_decoding_equals_uncached(positions, beams):
    for seed in range(4):
        model = tiny_writer(seed, decoder={"position_kind": positions, "max_positions": 40})
        features, mask = spectrograms([45, 30, 7], seed=seed)
        options = {
            "attention_mask": mask,
            "num_beams": beams,
            "num_return_sequences": beams,
            "return_dict_in_generate": True,
            "output_scores": True,
        }
        cached = model.generate(features, use_cache=True, **options)
        uncached = model.generate(features, use_cache=False, **options)
        assert isinstance(cached[CACHE], EncoderDecoderCache)
        assert torch.equal(cached.sequences, uncached.sequences)
        for mine, theirs in zip(cached.scores, uncached.scores, strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


def test_a_callers_own_cache_of_transformers_serves_too():
    model = tiny_writer()
    features, mask = spectrograms([45, 30])
    options = {"attention_mask": mask, "max_new_tokens": 8}
    for beams in (1, 3):
        cache = {CACHE: EncoderDecoderCache(DynamicCache(), DynamicCache())}
        expected = model.generate(features, num_beams=beams, **options).tolist()
        assert model.generate(features, num_beams=beams, **cache, **options).tolist() == expected
        static = model.generate(features, num_beams=beams, cache_implementation="static", **options)
        assert static.tolist() == expected


def test_a_beam_of_one_is_greedy_search():
    for seed in range(4):
        model = tiny_writer(seed)
        model.lm_head.bias.data[2] = -1e4
        features, mask = spectrograms([45, 30], seed=seed)
        written = model.generate(features, attention_mask=mask, num_beams=1, max_new_tokens=8)
        text = torch.ones(2, 1).long()
        for _ in range(8):
            text = torch.cat([text, model(features, mask, text).logits[:, -1:].argmax(-1)], 1)
        assert written.tolist() == text.tolist()


def test_a_beams_score_is_the_score_of_its_text():
    for seed in range(3):
        model = tiny_writer(seed)
        model.lm_head.bias.data[2] += 3
        features, mask = spectrograms([45])
        options = {"num_beams": 4, "num_return_sequences": 4, "length_penalty": 0.0, "max_tokens_per_second": None}
        options |= {"max_new_tokens": 12, "return_dict_in_generate": True, "output_scores": True}
        output = model.generate(features, attention_mask=mask, **options)
        for sequence, score in zip(output.sequences, output.sequences_scores, strict=True):
            tokens = text_of(sequence)
            log_probs = model(features, mask, labels=torch.tensor([tokens])).logits[0].log_softmax(-1)
            expected = log_probs[torch.arange(len(tokens)), torch.tensor(tokens)].sum().item()
            assert score.item() == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("options", [{"num_beams": 1}, {"num_beams": 4}, {"num_beams": 4, "ctc_weight": 0.4}])
def test_a_batch_of_clips_gives_each_its_own_text(options):
    model, lengths = tiny_writer(3, ctc_weight=0.3), [60, 33, 9]
    features, mask = spectrograms(lengths)
    features = features.masked_fill(mask[..., None] == 0, 5.0)
    together = model.generate(features, attention_mask=mask, **options)
    for row, length in enumerate(lengths):
        alone = model.generate(features[row : row + 1, :length], **options)[0].tolist()
        assert together[row].tolist()[: len(alone)] == alone
        assert set(together[row].tolist()[len(alone) :]) <= {0, 2}


@pytest.mark.parametrize("beams", [1, 3])
def test_sampling_repeats_with_a_seed(beams):
    model = tiny_writer(1)
    features, mask = spectrograms([60, 40])
    draws = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        options = {"do_sample": True, "num_beams": beams, "num_return_sequences": beams, "temperature": 2.0}
        draws.append(model.generate(features, attention_mask=mask, **options).tolist())
    assert draws[0] == draws[1] != draws[2]


def test_constraints_by_logits_processors_hold():
    class Only(LogitsProcessor):
        def __call__(self, input_ids, scores):
            return scores.masked_fill((torch.arange(scores.shape[1]) < 7) & (torch.arange(9) != 2), -torch.inf)

    model = tiny_writer()
    features, mask = spectrograms([60, 40])
    options: dict[str, Any] = {"attention_mask": mask, "max_new_tokens": 8}
    for beams in (1, 3):
        written = model.generate(features, num_beams=beams, logits_processor=LogitsProcessorList([Only()]), **options)
        assert set(written[:, 1:].flatten().tolist()) <= {0, 2, 7, 8}
        for row in model.generate(features, num_beams=beams, no_repeat_ngram_size=2, **options).tolist():
            pairs = list(itertools.pairwise(row[: row.index(2)] if 2 in row else row))
            assert len(pairs) == len(set(pairs))


@pytest.mark.parametrize("beams", [1, 3])
def test_the_longest_text_follows_from_each_clips_own_frames(beams):
    model = tiny_writer()
    model.lm_head.bias.data[2] = -1e4
    features, mask = spectrograms([200, 100, 10])
    for given in ({"input_features": features}, {"encoder_outputs": model.get_encoder()(features, mask)}):
        written = model.generate(**given, attention_mask=mask, num_beams=beams)
        assert [row.tolist().index(2) - 1 for row in written] == [60, 30, 16]
    heard = model.listen(features, mask)  # knows its frames itself
    written = model.generate(encoder_outputs=heard, num_beams=beams)
    assert [row.tolist().index(2) - 1 for row in written] == [60, 30, 16]


def test_a_text_is_no_longer_than_its_learned_positions():
    model = tiny_writer(decoder={"position_kind": "learned", "max_positions": 20})
    model.lm_head.bias.data[2] = -1e4
    assert model.generate(spectrograms([200])[0], num_beams=1).shape == (1, 21)
    with pytest.raises(ValueError, match="max_positions=20"):
        model.generate(spectrograms([200])[0], num_beams=1, max_length=30)


def test_drafts_by_prompt_lookup_and_by_an_assistant_change_nothing():
    for seed in range(3):
        model, features = tiny_writer(seed), spectrograms([60])[0]
        options = {"num_beams": 1, "max_new_tokens": 12}
        expected = model.generate(features, **options).tolist()
        assert model.generate(features, prompt_lookup_num_tokens=3, **options).tolist() == expected
        assert model.generate(features, assistant_model=tiny_writer(seed + 5), **options).tolist() == expected


def test_drafts_beside_companions_are_refused():
    model = tiny_writer(ctc_weight=0.3)
    with pytest.raises(ValueError, match="requires a cache that can be cropped"):
        model.generate(spectrograms([60])[0], num_beams=1, prompt_lookup_num_tokens=3, ctc_weight=0.3)


def test_memory_is_held_once_per_utterance_at_eight_beams():
    model = tiny_writer()
    features, mask = spectrograms([60, 44])
    cache = model.generate(features, attention_mask=mask, num_beams=8, return_dict_in_generate=True)[CACHE]
    assert cache.cross_attention_cache.layers[0].keys.shape[0] == 2
    assert cache.self_attention_cache.layers[0].keys.shape[0] == 16


# --- attention ---


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("pooling", ["mean", "cls_distillation"])
def test_attention_lies_on_the_grid_and_on_real_patches_alone(implementation, pooling):
    model = tiny_writer(encoder={"pooling": pooling})
    model.set_attn_implementation(implementation)
    features, mask = spectrograms([40, 25])
    names = ["layers.1", "decoder.0.self", "decoder.1.cross"]
    maps = model.attention_maps(features, mask, labels=LABELS, layers=names)
    assert list(maps) == names
    tokens = model.config.encoder.num_class_tokens
    columns = [model.config.encoder.time_patches(n) for n in (40, 25)]
    assert maps["decoder.1.cross"].shape == (2, 2, 4, 3 * columns[0] + tokens)
    assert maps["decoder.0.self"].shape == (2, 2, 4, 4)
    for weights in maps.values():
        torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
    grid = as_grid(maps["decoder.1.cross"], model.config.encoder)
    assert grid.shape == (2, 2, 4, 3, columns[0])
    assert (grid[1, ..., columns[1] :] == 0).all()
    output = model(features, mask, labels=LABELS, output_attentions=True)
    torch.testing.assert_close(output.cross_attentions[1], maps["decoder.1.cross"])
    torch.testing.assert_close(output.decoder_attentions[0], maps["decoder.0.self"])
    assert model.config.encoder._attn_implementation == implementation


def test_maps_are_by_default_those_of_the_text_that_is_written():
    model = tiny_writer()
    features, mask = spectrograms([40, 25])
    options = {"attention_mask": mask, "num_beams": 1, "max_new_tokens": 5, "return_dict_in_generate": True}
    output = model.generate(features, output_attentions=True, **options)
    steps = torch.cat([step[1] for step in output.cross_attentions], dim=2)
    maps = model.attention_maps(features, mask, labels=output.sequences[:, 1:])
    assert list(maps) == ["decoder.0.cross", "decoder.1.cross"]
    torch.testing.assert_close(maps["decoder.1.cross"], steps, atol=1e-5, rtol=0)
    written = model.attention_maps(features, mask)
    assert written["decoder.0.cross"].shape[2] == model.generate(features, attention_mask=mask).shape[1] - 1
    with pytest.raises(ValueError, match=r"layers=\['speller'\]: allowed are decoder.0.self"):
        model.attention_maps(features, mask, layers=["speller"])


# --- folders ---


@pytest.mark.parametrize("tied", [False, True])
def test_a_saved_model_loads_the_same(tmp_path, tied):
    model = tiny_writer(ctc_weight=0.3, tie_word_embeddings=tied)
    model.tie_weights()
    model.save_pretrained(tmp_path)
    features, mask = spectrograms([40, 25])
    for loaded in (Writer.from_pretrained(tmp_path), AutoModelForSpeechSeq2Seq.from_pretrained(tmp_path)):
        assert type(loaded) is Writer
        assert (loaded.lm_head.weight is loaded.decoder.embed_tokens.weight) is tied
        assert loaded.generation_config.max_tokens_per_second == 30
        torch.testing.assert_close(
            loaded(features, mask, labels=LABELS).loss, model(features, mask, labels=LABELS).loss
        )


def test_every_head_grows_with_the_embeddings():
    model = tiny_writer(ctc_weight=0.3)
    model.resize_token_embeddings(12)
    assert model.config.vocab_size == model.lm_head.out_features == model.ctc_head.out_features == 12
    assert model(spectrograms([40])[0], labels=torch.tensor([[11, 2]])).loss.isfinite()


def test_a_taggers_encoder_is_kept(tmp_path):
    tagger = tiny_spectrogram(pooling="cls_distillation")
    tagger.save_pretrained(tmp_path)
    decoder = TextDecoderConfig(vocab_size=9, hidden_size=12, num_hidden_layers=1, num_attention_heads=2)
    for encoder in (tagger, tagger.spectrogram_transformer, tmp_path):
        model = Writer.from_encoder_decoder(encoder, decoder, ctc_weight=0.2)
        assert model.config.ctc_weight == 0.2
        features, mask = spectrograms([40, 25])
        heard = model.listen(features, mask).last_hidden_state
        expected = tagger.spectrogram_transformer(features, mask).last_hidden_state
        torch.testing.assert_close(heard, expected)
    with pytest.raises(TypeError, match="encoder is a GPT2LMHeadModel"):
        Writer.from_encoder_decoder(tiny_gpt2(), decoder)


def test_the_speech_pipeline_writes_what_generate_writes(tmp_path):
    model = tiny_writer(ctc_weight=0.3)
    model.save_pretrained(tmp_path)
    processor = AuralProcessor(LogMelFeatureExtractor(num_mel_bins=MELS), train_tokenizer(["abcd "]))
    processor.save_pretrained(tmp_path)
    sound = wave(1.0)
    recognizer = pipeline("automatic-speech-recognition", model=str(tmp_path))
    assert recognizer.type == "seq2seq"
    inputs = processor(audio=sound, sampling_rate=16000, return_tensors="pt")
    expected = processor.batch_decode(model.generate(inputs["input_features"]))[0]
    assert recognizer(sound)["text"] == expected != ""
    assert recognizer([sound, sound[:5000]], batch_size=2)[0]["text"] == expected


# --- GPT-2 inside ---


def tiny_gpt2(**overrides: Any) -> GPT2LMHeadModel:
    torch.manual_seed(4)
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    options = {"vocab_size": 9, "n_positions": 40, "n_embd": 12, "n_layer": 2, "n_head": 2, **ids, **overrides}
    model = GPT2LMHeadModel(GPT2Config(**options)).eval()
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.5)
    return model


def with_gpt2(**config_changes: Any) -> tuple[Writer, GPT2LMHeadModel]:
    gpt2 = tiny_gpt2()
    torch.manual_seed(0)
    model = Writer.from_encoder_decoder(tiny_spectrogram(pooling="mean"), gpt2, **config_changes)
    for name, parameter in model.named_parameters():
        if "cross" in name or "memory" in name or "ctc" in name:
            parameter.data.normal_(0, 0.5)
    return model, gpt2


def test_without_what_it_hears_gpt2_says_what_it_always_said(tmp_path):
    gpt2 = tiny_gpt2()
    gpt2.save_pretrained(tmp_path)
    model = Writer.from_encoder_decoder(tiny_spectrogram(), tmp_path)
    for block in model.decoder.h:
        block.crossattention.c_proj.weight.data.zero_()
        block.crossattention.c_proj.bias.data.zero_()
    text = torch.tensor([[1, 5, 6, 7], [1, 4, 8, 8]])
    torch.testing.assert_close(model(*spectrograms([40, 25]), text).logits, gpt2(text).logits)
    assert model.lm_head.weight is model.decoder.wte.weight
    assert model.generation_config.max_length == 41


@pytest.mark.parametrize("options", [{"num_beams": 1}, {"num_beams": 3}, {"num_beams": 3, "ctc_weight": 0.4}])
def test_gpt2_decodes_as_our_decoder_does(tmp_path, options):
    model, _ = with_gpt2(ctc_weight=0.3)
    lengths = [60, 33]
    features, mask = spectrograms(lengths)
    options = {"max_new_tokens": 8, **options}
    together = model.generate(features, attention_mask=mask, **options)
    if "ctc_weight" not in options:
        uncached = model.generate(features, attention_mask=mask, use_cache=False, **options)
        assert together.tolist() == uncached.tolist()
    for row, length in enumerate(lengths):
        alone = model.generate(features[row : row + 1, :length], **options)[0].tolist()
        assert together[row].tolist()[: len(alone)] == alone
    model.save_pretrained(tmp_path)
    loaded = Writer.from_pretrained(tmp_path)
    assert loaded.generate(features, attention_mask=mask, **options).tolist() == together.tolist()


def test_attention_of_gpt2_is_shown_where_its_implementation_gives_it():
    model, _ = with_gpt2(ctc_weight=0.3)
    features, mask = spectrograms([40, 25])
    with pytest.raises(ValueError, match="a 'gpt2' decoder under 'sdpa': load the model with attn_implementation"):
        model.attention_maps(features, mask, labels=LABELS)
    model.set_attn_implementation("eager")
    weights = model.attention_maps(features, mask, labels=LABELS)["decoder.1.cross"]
    assert weights.shape[:3] == (2, 2, 4)
    torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
    assert (as_grid(weights, model.config.encoder)[1, ..., model.config.encoder.time_patches(25) :] == 0).all()
    model.generate(features, attention_mask=mask, num_beams=2, max_new_tokens=3, coverage_weight=0.3)


def test_a_decoder_that_would_lose_a_layer_is_refused():
    config = BertConfig(vocab_size=9, hidden_size=12, num_hidden_layers=1, num_attention_heads=2, is_decoder=True)
    with pytest.raises(ValueError, match=r"decoder \(BertLMHeadModel\) has cls\.\S+ between its states"):
        Writer.from_encoder_decoder(tiny_spectrogram(), BertLMHeadModel(config))
