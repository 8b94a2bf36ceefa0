"""Linear layers in oneDNN's blocks give what they give as they are, and are left alone where they would not."""

import pytest
import torch
from torch import nn

from aural.modeling.packed_linear import PackedLinears, PackedProduct, packs


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return nn.Linear(33, 17)


@pytest.mark.parametrize("shape", [(4, 33), (2, 3, 33), (1, 33), (50, 33)])
def test_blocks_give_what_the_layer_gives_for_any_number_of_rows(layer, shape):
    inputs = torch.randn(shape)
    with torch.inference_mode():
        assert packs(layer.weight, 4)
        linears = PackedLinears(rows=4)
        for _ in range(2):  # the first call makes the blocks, the second finds them
            torch.testing.assert_close(linears(layer, inputs), layer(inputs), atol=1e-6, rtol=1e-5)
        assert linears._products[layer].blocks is not None
        expected = inputs @ layer.weight.T
        torch.testing.assert_close(PackedProduct(layer.weight, 4)(inputs), expected, atol=1e-6, rtol=1e-5)


def test_without_bias_too():
    layer, inputs = nn.Linear(5, 3, bias=False), torch.randn(2, 5)
    with torch.no_grad():
        torch.testing.assert_close(PackedLinears(2)(layer, inputs), inputs @ layer.weight.T)


def test_gradients_other_precisions_and_a_torch_without_onednn_take_the_layer_itself(layer, monkeypatch):
    inputs = torch.randn(4, 33)
    PackedLinears(4)(layer, inputs).sum().backward()
    torch.testing.assert_close(layer.bias.grad, torch.full((17,), 4.0))
    with torch.no_grad():
        assert not packs(layer.weight.bfloat16(), 4)
        assert not packs(layer.weight, 64)  # many rows
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
        assert not packs(layer.weight, 4)
        torch.testing.assert_close(PackedProduct(layer.weight, 4, layer.bias)(inputs), layer(inputs))


def test_what_was_hung_on_a_layer_has_its_say(layer):
    layer.register_forward_hook(lambda *_: torch.zeros(2, 17))
    with torch.no_grad():
        assert (PackedLinears(2)(layer, torch.randn(2, 33)) == 0).all()


def test_other_layers_are_called_as_they_are():
    double = nn.Linear(2, 2)
    double.forward = lambda inputs: 2 * inputs
    with torch.no_grad():
        linears = PackedLinears(1)
        assert linears(double, torch.ones(1, 2)).tolist() == [[2, 2]]
        assert linears(nn.Tanh(), torch.zeros(1, 2)).tolist() == [[0, 0]]
