"""The tall convolutions as matrix products: the numbers of the plain computation, forwards and backwards."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mulap_hf import modeling_mulap_conv, modeling_mulap_products
from mulap_hf.modeling_mulap_audio import MulapConv
from mulap_hf.modeling_mulap_conv import max_over_frequency


def plain(image: torch.Tensor, layers: nn.ModuleList) -> list[torch.Tensor]:
    return [layer(image).amax(dim=2) for layer in layers]


def make_layers(heights: tuple[int, ...] = (5, 9), channels: int = 4, width: int = 7) -> nn.ModuleList:
    """Scales and running means of both signs, running variances away from one."""
    torch.manual_seed(0)
    layers = nn.ModuleList(
        MulapConv(nn.Conv2d(1, channels, (height, width), padding=(0, width // 2))) for height in heights
    )
    for layer in layers:
        nn.init.normal_(layer.norm.weight)
        nn.init.normal_(layer.norm.bias)
        nn.init.normal_(layer.norm.running_mean)
        nn.init.uniform_(layer.norm.running_var, 0.5, 2)
    return layers.double()


def make_image(chunks: int = 3, bands: int = 24, frames: int = 11) -> torch.Tensor:
    """Neighbors alike, as in a spectrogram, with a level far from zero."""
    noise = torch.randn(chunks, 1, bands, frames, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return noise.cumsum(dim=2) + 3


def compare(layers: nn.ModuleList, image: torch.Tensor, **tolerances):
    """Outputs, gradients of every parameter and of the image, running statistics: as the plain computation's."""
    results = []
    for compute in (max_over_frequency, plain):
        copied, leaf = copy.deepcopy(layers), image.clone().requires_grad_()
        outputs = compute(leaf, copied)
        # Weights of different sizes, so that no position may be exchanged for another.
        sum((output * torch.linspace(-1, 2, output.numel()).view_as(output)).sum() for output in outputs).backward()
        results.append(
            {
                **{f"output {index}": output.detach() for index, output in enumerate(outputs)},
                **{name: parameter.grad for name, parameter in copied.named_parameters()},
                **dict(copied.named_buffers()),
                "image": leaf.grad,
            }
        )
    fast, expected = results
    assert fast.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(
            fast[name], value, **tolerances, msg=lambda message, name=name: f"{name}: {message}"
        )


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"chunks": 1, "frames": 1},
        {"bands": 9},  # one height for the tall filters
        {"bands": 14},  # 10 and 6 heights, and no bin that is its own pair
        {"heights": (4, 23)},  # odd numbers of heights, and two heights
    ],
)
def test_equals_the_plain_computation(training, sizes):
    sizes = dict(sizes)
    layers = make_layers(sizes.pop("heights", (5, 9)))
    compare(layers.train(training), make_image(**sizes))


@pytest.mark.parametrize(("threads", "few"), [(1, 0), (3, 0), (3, 10**9)])
def test_in_several_products(monkeypatch, threads, few):
    """More frames than one product takes, and a last product that is not full; threads share products or have own."""
    monkeypatch.setattr(modeling_mulap_products, "PRODUCTS", 500)
    monkeypatch.setattr(modeling_mulap_products, "FEW", few)
    monkeypatch.setattr(modeling_mulap_conv, "GATHERED", 5000)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        compare(make_layers(), make_image())
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("width", [1, 3])
def test_other_widths(width):
    compare(make_layers(width=width), make_image())


@pytest.mark.parametrize("training", [True, False])
def test_zero_scales(training):
    layers = make_layers().train(training)
    nn.init.zeros_(layers[0].norm.weight[1])
    compare(layers, make_image())


def test_single_precision():
    compare(make_layers().float(), make_image().float(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("dtype", "has_instructions", "atol"),
    [(torch.float16, True, 1e-2), (torch.bfloat16, False, 1e-2), (torch.bfloat16, True, 1e-1)],
)
def test_half_precision(dtype, has_instructions, atol, monkeypatch):
    """In single precision but for the weights, the image and what comes out; training is left to torch.

    On CPUs with instructions for bfloat16, the products are in bfloat16 as well.
    """
    monkeypatch.setattr(modeling_mulap_conv, "multiplies_bfloat16", lambda: has_instructions)
    warned = []
    monkeypatch.setattr(modeling_mulap_conv.logger, "warning_once", warned.append)
    layers, image = make_layers().eval().to(dtype), make_image().to(dtype)
    exact = max_over_frequency(image.double(), copy.deepcopy(layers).double())
    with torch.no_grad():
        outputs = max_over_frequency(image, layers)
    for output, expected in zip(outputs, exact, strict=True):
        assert output.dtype == dtype
        torch.testing.assert_close(output, expected.to(dtype), rtol=2 * torch.finfo(dtype).eps, atol=atol)
        assert F.cosine_similarity(output.flatten().double(), expected.flatten(), dim=0) > 0.9999
    assert ["no instructions for bfloat16" in text for text in warned] == [True] * (not has_instructions)
    if dtype == torch.bfloat16:
        trained = max_over_frequency(image, layers.train())
        assert all(output.dtype == dtype and output.isfinite().all() for output in trained)


def test_cumulative_running_statistics():
    layers = make_layers()
    for layer in layers:
        layer.norm.momentum = None
        layer.norm.num_batches_tracked.fill_(3)
    compare(layers, make_image())


def test_a_filter_without_gradient():
    layers = make_layers().requires_grad_(False)
    image = make_image().requires_grad_()
    (fast,) = torch.autograd.grad(sum(output.sum() for output in max_over_frequency(image, layers)), image)
    (expected,) = torch.autograd.grad(sum(output.sum() for output in plain(image, layers)), image)
    torch.testing.assert_close(fast, expected)


def test_inference_equals_training_code():
    """Without gradients the heights' positions are not looked for: another branch, the same numbers."""
    layers, image = make_layers().eval(), make_image()
    with torch.no_grad():
        outputs = max_over_frequency(image, layers)
    for output, expected in zip(outputs, plain(image, layers), strict=True):
        assert not output.requires_grad
        torch.testing.assert_close(output, expected)


def test_autocast_changes_nothing():
    """The products stay in single precision, statistics included."""
    layers, image = make_layers().float(), make_image().float()
    expected = max_over_frequency(image, copy.deepcopy(layers))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = max_over_frequency(image, layers)
    for output, exact in zip(outputs, expected, strict=True):
        assert torch.equal(output, exact)


def test_another_norm_computes_its_own_statistics():
    class HalvingNorm(nn.BatchNorm2d):
        def forward(self, inputs):
            return super().forward(inputs) / 2

    layers, image = make_layers(), make_image()
    expected = [output / 2 for output in plain(image, copy.deepcopy(layers))]
    for layer in layers:
        norm = HalvingNorm(layer.norm.num_features).double()
        norm.load_state_dict(layer.norm.state_dict())
        layer.norm = norm
    for output, halved in zip(max_over_frequency(image, layers), expected, strict=True):
        torch.testing.assert_close(output, halved)


def test_no_chunks():
    """A process of several may have none, but takes part in the statistics."""
    outputs = max_over_frequency(make_image()[:0], make_layers().eval())
    assert [output.shape for output in outputs] == [(0, 4, make_image().shape[3])] * 2
