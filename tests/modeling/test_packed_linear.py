"""Linear layers in panels or blocks give what they give as they are, and are left alone where they would not."""

import pytest
import torch
from torch import nn

from aural.modeling import kernels
from aural.modeling.packed_linear import PackedLinears, PackedProduct, takes_blocks, takes_panels


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return nn.Linear(33, 17)


@pytest.fixture(params=["panels", "blocks"])
def kind(request, monkeypatch):
    if request.param == "blocks":
        monkeypatch.setattr(kernels, "library", lambda: None)
    elif kernels.library() is None:
        pytest.skip("no kernels for this processor")
    return request.param


@pytest.mark.parametrize("shape", [(4, 33), (2, 3, 33), (1, 33), (50, 33), (0, 33)])
def test_both_give_what_the_layer_gives_for_any_number_of_rows(layer, shape, kind):
    inputs = torch.randn(shape)
    with torch.inference_mode():
        linears = PackedLinears(rows=4)
        for _ in range(2):  # the first call packs, the second finds it packed
            torch.testing.assert_close(linears(layer, inputs), layer(inputs), atol=1e-6, rtol=1e-5)
        bent = linears(layer, inputs, nn.Tanh())
        torch.testing.assert_close(bent, layer(inputs).tanh(), atol=1e-6, rtol=1e-5)
        assert getattr(linears._products[layer], kind) is not None
        parts = PackedProduct([layer.weight[:, :20], layer.weight[:, 20:]], 4)
        torch.testing.assert_close(parts(inputs), inputs @ layer.weight.T, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("outputs", [16, 17])
def test_a_product_is_added_in_place(outputs, kind):
    inputs, weight, sums = torch.randn(3, 5), torch.randn(outputs, 5), torch.randn(3, outputs)
    expected = sums + inputs @ weight.T
    with torch.no_grad():
        assert PackedProduct([weight], 3).add(inputs, sums) is sums
    torch.testing.assert_close(sums, expected, atol=1e-6, rtol=1e-5)


def test_without_bias_too(kind):
    layer, inputs = nn.Linear(5, 3, bias=False), torch.randn(2, 5)
    with torch.no_grad():
        torch.testing.assert_close(PackedLinears(2)(layer, inputs), inputs @ layer.weight.T)


def test_gradients_other_precisions_and_many_rows_take_the_layer_itself(layer, monkeypatch):
    inputs = torch.randn(4, 33)
    PackedLinears(4)(layer, inputs).sum().backward()
    torch.testing.assert_close(layer.bias.grad, torch.full((17,), 4.0))
    with torch.no_grad():
        assert takes_blocks(layer.weight, 4)
        for takes, many in ((takes_blocks, 33), (takes_panels, 65)):
            assert not takes(layer.weight.bfloat16(), 4) and not takes(layer.weight, many)
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
        assert not takes_blocks(layer.weight, 4)
        monkeypatch.setattr(kernels, "library", lambda: None)
        torch.testing.assert_close(PackedProduct([layer.weight], 4, layer.bias)(inputs), layer(inputs))


def test_what_was_hung_on_a_layer_has_its_say(layer):
    layer.register_forward_hook(lambda *_: torch.zeros(2, 17))
    with torch.no_grad():
        assert (PackedLinears(2)(layer, torch.randn(2, 33)) == 0).all()


def test_what_was_hung_on_a_tanh_has_its_say(layer):
    tanh = nn.Tanh()
    tanh.register_forward_hook(lambda *_: torch.ones(2, 17))
    with torch.no_grad():
        assert (PackedLinears(2)(layer, torch.randn(2, 33), tanh) == 1).all()


def test_other_layers_are_called_as_they_are():
    double = nn.Linear(2, 2)
    double.forward = lambda inputs: 2 * inputs
    with torch.no_grad():
        linears = PackedLinears(1)
        assert linears(double, torch.ones(1, 2)).tolist() == [[2, 2]]
        assert linears(nn.Tanh(), torch.zeros(1, 2)).tolist() == [[0, 0]]
