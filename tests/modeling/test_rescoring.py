"""Rescoring: n-best lists sorted by the weighted sum of parts, each part as its own source gives it."""

import pytest
import torch

from aural.modeling.joint_decoding import JointOptions
from aural.modeling.rescoring import rescore, sequence_parts, text_labels
from tests.joint import everything, joint_las, tiny_lm
from tests.tiny import clips, tiny_las

PHONEMES = 7


def spoken(text: list[int]) -> list[int]:
    """Phonemes of a text: one for most tokens, two for one of them."""
    return [phoneme for token in text for phoneme in ([1, 2] if token == 4 else [token % 5 + 2])]


def nbest(model, beams: int = 4):
    model.lm_head.bias.data[2] += 4
    features, mask = clips([60, 44])
    listened = model.model.listen(features, mask)
    output = model.generate(
        encoder_outputs=listened,
        num_beams=beams,
        num_return_sequences=beams,
        return_dict_in_generate=True,
        output_scores=True,
    )
    return listened, output


def test_lists_are_sorted_by_the_weighted_sum_of_their_parts():
    model, sources = joint_las(phoneme_vocab_size=PHONEMES), JointOptions(**everything())
    listened, output = nbest(model)
    weights = {"beam": 0.5, "attention": 0.2, "ctc": 0.3, "phoneme_ctc": 0.7, "lm": 1.1, "ngram": 0.9, "length": 1.0}
    best = rescore(model, listened, output.sequences, weights, sources, output.sequences_scores, spoken)
    expected = sum(weight * best.parts[name] for name, weight in weights.items())
    torch.testing.assert_close(best.totals, expected)
    assert (best.totals[:, :-1] >= best.totals[:, 1:]).all()
    assert best.order.sort(-1).values.tolist() == [[0, 1, 2, 3]] * 2
    assert best.order.tolist() != [[0, 1, 2, 3]] * 2
    before = output.sequences.view(2, 4, -1)
    for clip in range(2):
        assert torch.equal(best.sequences[clip], before[clip, best.order[clip]])
        scores = output.sequences_scores.view(2, 4)[clip, best.order[clip]]
        torch.testing.assert_close(best.parts["beam"][clip].float(), scores)


def test_phonemes_score_as_torch_scores_them():
    model = joint_las(phoneme_vocab_size=PHONEMES)
    features, mask = clips([60, 44])
    listened = model.model.listen(features, mask)
    sequences = torch.tensor([[1, 4, 5, 5, 2], [1, 7, 2, 0, 0], [1, 2, 0, 0, 0], [1, 8, 4, 2, 2]])
    part = sequence_parts(model, listened, sequences, phonemes=spoken)["phoneme_ctc"]
    log_probs = model.phoneme_head(listened.ctc_states).double().log_softmax(-1)
    for row, text in enumerate([[4, 5, 5], [7], [], [8, 4]]):
        target, frames = torch.tensor([spoken(text)], dtype=torch.long), listened.ctc_mask[row // 2].sum()
        loss = torch.nn.functional.ctc_loss(
            log_probs[row // 2, :frames, None], target, frames[None], torch.tensor([target.shape[1]]), reduction="sum"
        )
        assert part[row].item() == pytest.approx(-loss.item(), abs=1e-4)


def test_what_follows_the_end_does_not_count_and_a_text_without_end_is_a_beginning():
    sequences = torch.tensor([[1, 4, 2, 5, 2], [1, 4, 5, 6, 7], [1, 2, 0, 0, 0]])
    labels = text_labels(sequences, ends=[2])
    assert labels.tolist() == [[4, 2, -100, -100], [4, 5, 6, 7], [2, -100, -100, -100]]
    model, options = joint_las(), JointOptions(**everything())
    listened = model.model.listen(clips([60])[0])
    two = sequence_parts(model, listened, torch.tensor([[1, 4, 2, 5, 6], [1, 4, 2, 0, 0]]), options)
    for part in two.values():
        assert part[0] == part[1]
    assert two["length"].tolist() == [2, 2]
    parts = sequence_parts(model, listened, torch.tensor([[1, 4, 5], [1, 4, 2]]), options)
    assert (parts["ctc"] <= sequence_parts(model, listened, torch.tensor([[1, 4]]), options)["ctc"]).all()


def test_a_language_model_reorders_a_list_as_its_own_scores_say():
    model, lm = tiny_las(), tiny_lm()
    listened, output = nbest(model)
    best = rescore(model, listened, output.sequences, {"lm": 1.0}, JointOptions(lm=lm))
    for clip in range(2):
        expected = []
        for row in best.sequences[clip]:
            text = row[1:].tolist()
            text = text[: text.index(2) + 1] if 2 in text else text
            log_probs = lm(torch.tensor([[1, *text[:-1]]])).logits[0].log_softmax(-1)
            expected.append(log_probs[torch.arange(len(text)), torch.tensor(text)].sum().item())
        assert best.totals[clip].tolist() == pytest.approx(expected, abs=1e-3)
        assert expected == sorted(expected, reverse=True)


def test_parts_that_are_not_there_are_refused_by_name():
    model = tiny_las()
    listened, output = nbest(model)
    given = (model, listened, output.sequences)
    for weights, message in [
        ({"love": 1.0}, "weights name love; allowed: beam, attention"),
        ({"lm": 1.0}, r"weights name 'lm', but options\.lm is None"),
        ({"beam": 1.0}, "weights name 'beam', but beam_scores is None"),
        ({"phoneme_ctc": 1.0}, "weights name 'phoneme_ctc', but phonemes is None"),
        ({"ctc": 1.0}, "this model has no ctc_head"),
    ]:
        with pytest.raises(ValueError, match=message):
            rescore(*given, weights)
    with pytest.raises(ValueError, match="this model has no phoneme_head"):
        rescore(*given, {"phoneme_ctc": 1.0}, phonemes=spoken)
    voiced = joint_las(phoneme_vocab_size=3)
    with pytest.raises(ValueError, match="phonemes gave 5; allowed are 0 to 2 without the blank, 0"):
        sequence_parts(voiced, voiced.model.listen(clips([60])[0]), torch.tensor([[1, 5, 2]]), phonemes=lambda _: [5])
