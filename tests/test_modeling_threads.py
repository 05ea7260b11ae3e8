"""The backbone in several threads: the same features as in one, in every state that belongs to a thread."""

import multiprocessing
import os
import threading

import pytest
import torch
from helpers import assert_near, micro_config, settle, waveforms

from mulap_hf import modeling_mulap_audio
from mulap_hf.modeling_mulap_audio import MulapAudioModel
from mulap_hf.modeling_mulap_threads import run_in_threads

CHUNKS = 7


@pytest.fixture
def backbone(monkeypatch) -> MulapAudioModel:
    """A backbone for which every chunk is enough for a thread."""
    monkeypatch.setattr(modeling_mulap_audio, "OUTPUTS_PER_THREAD", 1)
    return settle(MulapAudioModel(micro_config().audio_config)).eval()


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield 3
    assert torch.get_num_threads() == 3  # every call has set it back
    torch.set_num_threads(before)


@pytest.fixture
def parts(monkeypatch) -> list[int]:
    """Grows by the number of parts of every computation in threads."""
    found = []
    monkeypatch.setattr(
        modeling_mulap_audio,
        "run_in_threads",
        lambda work, number: found.append(number) or run_in_threads(work, number),
    )
    return found


def clips(backbone: MulapAudioModel) -> torch.Tensor:
    return waveforms(2, CHUNKS * backbone.config.chunk_length)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_the_same_features_as_in_one_thread(backbone, threads, parts, context):
    with context():
        shared = backbone(clips(backbone), output_hidden_states=True)
        assert parts == [threads]
        torch.set_num_threads(1)
        alone = backbone(clips(backbone), output_hidden_states=True)
        torch.set_num_threads(threads)
    assert parts == [threads]
    assert_near(shared.last_hidden_state, alone.last_hidden_state)
    for stage, expected in zip(shared.hidden_states, alone.hidden_states, strict=True):
        assert_near(stage, expected)
    assert shared.pooler_output.is_inference() == (context is torch.inference_mode)


def test_what_belongs_to_a_thread_is_computed_in_one(backbone, threads, parts):
    inputs = clips(backbone)
    assert backbone(inputs).pooler_output.requires_grad
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        backbone(inputs)
    seen = []
    handle = backbone.musicnn.midend[0].norm.register_forward_hook(lambda *_: seen.append(1))
    with torch.no_grad():
        backbone(inputs)
    handle.remove()
    assert parts == [] and seen
    with torch.no_grad():
        backbone(inputs)
    assert parts == [threads]


def test_parts_compute_alone(threads):
    for _ in range(3):
        found = []
        run_in_threads(lambda part: found.append((part, torch.get_num_threads())), threads)  # noqa: B023
        assert sorted(found) == [(part, 1) for part in range(threads)]


def test_an_error_of_any_part_is_raised(threads):
    def fail(part: int):
        if part == 2:
            raise ValueError("part 2")

    with pytest.raises(ValueError, match="part 2"):
        run_in_threads(fail, threads)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_copy_of_the_process_has_its_own_threads(threads):
    run_in_threads(lambda part: None, threads)

    def run():
        done = []
        run_in_threads(done.append, 3)
        os._exit(sorted(done) != [0, 1, 2])

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join(60)
    exit_code = process.exitcode
    process.kill()
    assert exit_code == 0


def test_threads_that_begin_later_have_the_former_number(threads):
    run_in_threads(lambda part: None, threads)
    found = []
    later = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert found == [threads]
