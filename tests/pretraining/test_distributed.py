"""Two real processes compute what one computes on the joined batch."""

import copy
from pathlib import Path

import pytest
import torch
from helpers import run_two_ranks, settle
from torch import nn
from two_processes import SPLITS, step, whole_batch, whole_losses, whole_model

from mulap_hf.modeling_mulap_distributed import SyncBatchNorm, gather_rows
from mulap_hf.pretraining.distributed import sum_over_processes, synchronize_batch_norm


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> dict:
    path = tmp_path_factory.mktemp("two") / "results.pt"
    script = Path(__file__).with_name("two_processes.py")
    result = run_two_ranks(script, path)
    assert result.returncode == 0, result.stderr
    return torch.load(path)


@pytest.mark.parametrize("case, size", SPLITS)
def test_step_of_two_processes_is_that_of_one(results, case, size):
    expected, actual = step(case), results[case, size]
    assert actual.keys() == expected.keys()
    largest = max(value.abs().max() for name, value in expected.items() if name.endswith(".grad"))
    for name, value in expected.items():
        scale = largest if name.endswith(".grad") else value.abs().max()
        assert (actual[name] - value).abs().max() <= 1e-5 * scale, name


def test_rows_are_joined_in_the_order_of_the_ranks(results):
    assert results["joined"].tolist() == [[2**60 + 1] * 2] * 3  # the first process had none
    assert results["first"].tolist() == [0, 0]


def test_sums_are_exact(results):
    assert results["sums"] == {"odd": 2**25 + 2, "rank": 1}


def test_in_eval_mode_no_process_waits_for_another(results):
    with torch.no_grad():
        expected = [loss for loss, _ in whole_losses(whole_model(), whole_batch())]
    torch.testing.assert_close(results["alone"], expected, rtol=1e-6, atol=0)


def test_batch_norm_of_one_value_is_refused(results):
    assert results["one value"] == (
        "BatchNorm trains on 2 values per channel or more; all processes together have 1: train on larger batches"
    )


def test_without_processes_nothing_changes():
    values = torch.randn(3, 2, requires_grad=True)
    assert gather_rows(values) == (values, 0)
    assert sum_over_processes({"loss": 0.1}) == {"loss": 0.1}


def test_synchronized_batch_norm_of_one_process_is_batch_norm():
    plain = settle(nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2)))
    synchronized = synchronize_batch_norm(copy.deepcopy(plain))
    batch = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    assert [type(module) for module in synchronized] == [SyncBatchNorm, nn.Conv2d, SyncBatchNorm]
    assert isinstance(synchronize_batch_norm(nn.BatchNorm1d(3)), SyncBatchNorm)
    for training in (True, False):
        assert torch.equal(synchronized.train(training)(batch), plain.train(training)(batch))
    state = synchronized.state_dict()
    assert list(state) == list(plain.state_dict())
    assert all(torch.equal(state[name], value) for name, value in plain.state_dict().items())
