"""The hand-written kernels against torch's own operations in float64, at sizes that leave every kind of rest."""

import shutil

import pytest
import torch
from torch import nn

from aural.modeling import kernels
from aural.modeling.attention import masked_softmax
from aural.modeling.kernels import Panels, attend, can_attend, lstm_step, serves
from tests.tiny import tiny_las

needs_kernels = pytest.mark.skipif(kernels.library() is None, reason="no kernels for this processor")
CLOSE = {"atol": 2e-6, "rtol": 1e-5}  # float32 against float64


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def test_they_are_built_where_they_can_be():
    if torch.backends.cpu.get_cpu_capability() != "AVX2" or not (shutil.which("gcc") or shutil.which("cc")):
        pytest.skip("another processor, or no compiler")
    assert kernels.library() is not None


@needs_kernels
@pytest.mark.parametrize("rows", [*range(1, 10), 13, 64])
@pytest.mark.parametrize(("inputs", "outputs"), [(1, 3), (33, 8), (40, 17), (5, 24), (300, 32), (7, 56)])
def test_a_product_with_bias_and_tanh(rows, inputs, outputs):
    read, weight, bias = torch.randn(rows, inputs), torch.randn(outputs, inputs), torch.zeros(-(-outputs // 8) * 8)
    bias[:outputs] = torch.randn(outputs)
    expected = read.double() @ weight.double().T + bias[:outputs]
    panels = Panels(weight)
    torch.testing.assert_close(panels.product(read, bias).double(), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(panels.product(read, bias, bent=True).double(), expected.tanh(), atol=1e-5, rtol=1e-5)


@needs_kernels
def test_a_product_is_added_to_what_is_there_and_its_inputs_may_be_a_part_of_rows():
    wide, weight, sums = torch.randn(5, 30), torch.randn(16, 10), torch.randn(5, 16)
    expected = sums + wide[:, 7:17] @ weight.T
    result = Panels(weight).add_product(wide[:, 7:17], sums)
    assert result is sums
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-5)


@needs_kernels
def test_groups_of_rows_have_matrices_of_their_own():
    sizes = [1, 8, 0, 5, 9]
    read, matrices, sums = torch.randn(23, 10), torch.randn(5, 10, 24), torch.randn(23, 24)
    products = [own @ matrix for own, matrix in zip(read.split(sizes), matrices, strict=True)]
    expected = sums + torch.cat(products)
    panels = Panels(matrices.transpose(1, 2))
    torch.testing.assert_close(panels.add_product(read, sums, sizes), expected, atol=1e-5, rtol=1e-5)
    for wrong in ([1, 8, 0, 5, 8], [1, 8, 5, 9], [1, 8, 1, -1, 14], None):
        with pytest.raises(RuntimeError, match="5 groups are multiplied"):
            panels.add_product(read, sums, wrong)


@needs_kernels
def test_inputs_of_another_kind_or_width_are_refused_and_not_read():
    panels = Panels(torch.randn(8, 5))
    for wrong in (torch.randn(2, 4), torch.randn(2, 5).double(), torch.randn(5, 2).T):
        with pytest.raises(RuntimeError, match=r"\(rows, 5\) float32"):
            panels.product(wrong, torch.zeros(8))


@needs_kernels
def test_matrices_side_by_side_and_transposed_ones():
    first, second, read = torch.randn(8, 3), torch.randn(4, 8).T, torch.randn(2, 7)
    expected = read @ torch.cat([first, second], dim=1).T
    torch.testing.assert_close(Panels(first, second).product(read, torch.zeros(8)), expected, **CLOSE)


@needs_kernels
def test_two_threads_give_what_one_gives():
    weight, read, bias = torch.randn(512, 64), torch.randn(6, 64), torch.randn(512)
    asked, keys, values = torch.randn(5, 3, 16), torch.randn(5, 9, 16), torch.randn(5, 9, 24)
    results = []
    threads = torch.get_num_threads()
    for count in (1, 2):
        torch.set_num_threads(count)
        looked = attend(asked, keys, torch.zeros(5, 9), torch.ones(5, 9, dtype=torch.bool), values)
        results.append((Panels(weight).product(read, bias), *looked))
    torch.set_num_threads(threads)
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))


@needs_kernels
def test_a_step_is_that_of_an_lstm_cell():
    cell = nn.LSTMCell(5, 16).double()
    read, hidden, before = torch.randn(3, 5), torch.randn(3, 16), torch.randn(3, 16)
    with torch.no_grad():
        expected = cell(read.double(), (hidden.double(), before.double()))
        shares = (read.double() @ cell.weight_ih.T + cell.bias_ih + cell.bias_hh).float()
        sums = (hidden.double() @ cell.weight_hh.T).float()
    for result, wanted in zip(lstm_step(sums, before, shares=shares), expected, strict=True):
        torch.testing.assert_close(result.double(), wanted, **CLOSE)


@needs_kernels
def test_a_step_finds_its_sums_and_shares_by_row():
    sums, shares, before = torch.randn(2, 32), torch.randn(4, 32), torch.randn(5, 8)
    place, which = torch.tensor([1, 0, 0, 1, 1]), torch.tensor([3, 0, 2, 2, 1], dtype=torch.int32)
    found = lstm_step(sums, before, place, shares, which)
    gathered = lstm_step((sums[place] + shares[which.long()]), before)
    assert torch.equal(found[0], gathered[0]) and torch.equal(found[1], gathered[1])


@needs_kernels
def test_gates_beyond_all_bounds_saturate_and_what_is_no_number_stays_none():
    sums = torch.zeros(3, 32)
    sums[0], sums[1] = 1e4, float("inf")
    sums[2, 0] = float("nan")
    hidden, cell = lstm_step(sums, torch.ones(3, 8))
    torch.testing.assert_close(cell[:2], torch.full((2, 8), 2.0))
    torch.testing.assert_close(hidden[:2], torch.full((2, 8), 2.0).tanh())
    assert hidden[2, 0].isnan() and cell[2, 0].isnan() and not hidden[2, 1:].isnan().any()
    low = lstm_step(torch.full((1, 32), -1e4), torch.ones(1, 8))[1]
    torch.testing.assert_close(low, torch.zeros(1, 8))


@needs_kernels
@pytest.mark.parametrize("queries", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize(("count", "size"), [(1, 8), (2, 3), (7, 20), (8, 16), (13, 416)])
def test_a_look_is_softmax_over_real_keys(queries, count, size):
    asked, keys, values = torch.randn(3, queries, size), torch.randn(3, count, size), torch.randn(3, count, 24)
    offsets, mask = torch.randn(3, count), torch.rand(3, count) < 0.7
    mask[0], mask[1] = True, False  # a clip without keys gets nothing
    scores = asked.double() @ keys.double().transpose(1, 2) + offsets[:, None]
    expected = masked_softmax(scores, mask[:, None])
    contexts, weights = attend(asked, keys, offsets, mask, values)
    torch.testing.assert_close(weights.double(), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(contexts.double(), expected @ values.double(), atol=1e-5, rtol=1e-5)
    assert not weights[1].any() and not contexts[1].any()


@needs_kernels
def test_a_look_with_a_key_that_is_no_number_gives_none():
    keys = torch.zeros(1, 3, 8)
    keys[0, 1] = float("nan")
    plain = (torch.ones(1, 1, 8), keys, torch.zeros(1, 3), torch.ones(1, 3, dtype=torch.bool), torch.zeros(1, 3, 8))
    assert attend(*plain)[1].isnan().all()


def test_they_serve_float32_on_the_host_alone(monkeypatch):
    class Odd(torch.Tensor):
        pass

    plain = torch.zeros(2, 8)
    assert serves(plain) == (kernels.library() is not None)
    for other in (plain.double(), plain.to("meta"), plain.as_subclass(Odd)):
        assert not serves(other)
    with torch.autocast("cpu"):
        assert not serves(plain)
    looked = [torch.zeros(1, 2, 8), torch.zeros(1, 3, 8), torch.zeros(1, 3), torch.zeros(1, 3, dtype=torch.bool)]
    assert not can_attend(*looked, torch.zeros(1, 3, 12))  # no multiple of 8
    assert not can_attend(*looked, torch.zeros(1, 8, 3).transpose(1, 2))
    assert not can_attend(*looked[:3], torch.zeros(1, 2, dtype=torch.bool), torch.zeros(1, 3, 8))  # torch refuses it
    monkeypatch.setattr(kernels, "library", lambda: None)
    assert not serves(plain)


def test_a_processor_without_avx2_alone_gets_none(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    assert kernels.library.__wrapped__() is None


@needs_kernels
@pytest.mark.parametrize(
    "options", [{}, {"query_layer": "first"}, {"attention_kind": "location"}, {"listener_hidden_size": 32}]
)
def test_a_model_gives_with_them_what_it_gives_without(options, monkeypatch):
    model = tiny_las(scale=0.5, **{"listener_hidden_size": 8, "speller_hidden_size": 16, **options})
    features, mask = torch.randn(3, 40, model.config.num_mel_bins), torch.arange(40) < torch.tensor([[40], [29], [8]])
    labels = torch.tensor([[4, 5, 6, 2], [7, 2, -100, -100], [8, 8, 2, -100]])

    def everything():
        model.zero_grad()
        model.train()
        loss = model(features, mask.long(), labels=labels).loss
        loss.backward()
        model.eval()
        with torch.no_grad():
            logits = model(features, mask.long(), labels=labels).logits
        texts = [model.generate(features, attention_mask=mask.long(), num_beams=n, max_length=9) for n in (1, 3, 8)]
        gradients = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
        return texts, [loss.detach(), logits, *gradients]

    with_them = everything()
    monkeypatch.setattr(kernels, "library", lambda: None)
    without = everything()
    assert all(torch.equal(one, two) for one, two in zip(with_them[0], without[0], strict=True))
    for one, two in zip(with_them[1], without[1], strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-4)
