"""Checkpoints: bit-equal when loaded, whole after a kill anywhere, damage found and named."""

import json
import os
import random
import shutil

import numpy as np
import pytest
import torch
from helpers import inputs, micro_config, run, run_two_ranks
from small_run import LOCAL, STATE, Trained

from mulap_hf import MulapForPreTraining, MulapModel
from mulap_hf.errors import RunError
from mulap_hf.pretraining.checkpoints import Checkpoints


class Killed(BaseException):
    """Like a kill: not an Exception, so that nothing is tidied up."""


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints(tmp_path, keep=2)


def names(folder):
    return sorted(os.listdir(folder))


def assert_same(left: list[torch.Tensor], right: list[torch.Tensor]):
    assert len(left) == len(right)
    assert all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


def pretraining_loss(model):
    batch = inputs()
    labels = torch.where(batch["input_ids"] % 3 == 0, batch["input_ids"], -100)
    return model(**batch, mlm_labels=labels, matching_labels=torch.tensor([0, 1, 1])).loss


@pytest.mark.parametrize("mulap", [False, True])
def test_goes_on_bit_for_bit(checkpoints, tmp_path, mulap):
    options = {"make_model": lambda: MulapForPreTraining(micro_config())} if mulap else {}
    loss = {"loss": pretraining_loss} if mulap else {}
    first = Trained(**options)
    first.model.train()
    first.train(2, **loss)
    first.save(checkpoints, 2, first.model.save_pretrained if mulap else None)
    expected_draws = random.random(), np.random.rand(), torch.rand(3)
    first.train(2, **loss)

    second = Trained(**options, seed=1)
    assert not torch.equal(next(second.model.parameters()), next(first.model.parameters()))
    second.model.train()
    assert checkpoints.latest() == tmp_path / "step-000002"
    assert checkpoints.load(second.accelerator, checkpoints.latest()) == (STATE, LOCAL)
    draws = random.random(), np.random.rand(), torch.rand(3)
    assert draws[:2] == expected_draws[:2]
    assert torch.equal(draws[2], expected_draws[2])
    assert second.schedule.last_epoch == 2
    second.train(2, **loss)
    assert second.schedule.get_last_lr() == first.schedule.get_last_lr()
    assert_same(second.tensors(), first.tensors())
    if mulap:
        assert isinstance(MulapModel.from_pretrained(checkpoints.latest()), MulapModel)


def test_manifest_says_what_it_is(checkpoints):
    Trained().save(checkpoints, 12)
    manifest = json.loads((checkpoints.latest() / "checkpoint.json").read_text())
    assert (manifest["step"], manifest["state"], manifest["processes"]) == (12, STATE, 1)
    assert set(manifest["versions"]) == {"torch", "accelerate", "mulap-hf"}
    assert list(manifest["files"]) == [
        "config.json",
        "state/custom_checkpoint_0.pkl",
        "state/optimizer.bin",
        "state/process-0.json",
        "state/pytorch_model.bin",
        "state/random_states_0.pkl",
    ]
    # sha256 of the two bytes "{}"
    assert manifest["files"]["config.json"] == {
        "size": 2,
        "sha256": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
    }


def test_only_the_newest_are_kept(checkpoints, tmp_path):
    trained = Trained()
    for step in (5, 20, 999_990, 1_000_000):
        trained.save(checkpoints, step)
    assert names(tmp_path) == ["step-1000000", "step-999990"]
    assert checkpoints.latest() == tmp_path / "step-1000000"
    with pytest.raises(RunError, match="at least 1"):
        Checkpoints(tmp_path, keep=0)


def test_a_step_is_saved_once(checkpoints):
    trained = Trained()
    trained.save(checkpoints, 5)
    before = (checkpoints.latest() / "checkpoint.json").read_text()
    trained.train(1)
    trained.save(checkpoints, 5)
    assert (checkpoints.latest() / "checkpoint.json").read_text() == before


def test_nothing_to_go_on_from(checkpoints):
    assert checkpoints.latest() is None
    assert checkpoints.best_folder() is None


@pytest.mark.parametrize("name", ["config.json", "state/optimizer.bin", "state/process-0.json", "checkpoint.json"])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing"])
def test_damage_is_named(checkpoints, name, damage):
    trained = Trained()
    trained.save(checkpoints, 5)
    file = checkpoints.latest() / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "truncated":
        os.truncate(file, len(content) // 2)
    elif damage == "flipped":
        file.write_bytes(content)
    else:
        file.unlink()
    before = trained.tensors()
    with pytest.raises(RunError) as error:
        checkpoints.load(trained.accelerator, checkpoints.latest())
    assert f"{file} is damaged (it " in str(error.value)
    assert f"delete the folder {checkpoints.latest()} to resume from the checkpoint before" in str(error.value)
    assert_same(trained.tensors(), before)  # nothing was loaded


def test_a_changed_epoch_is_noticed(checkpoints):
    trained = Trained()
    trained.save(checkpoints, 5)
    manifest = checkpoints.latest() / "checkpoint.json"
    manifest.write_text(manifest.read_text().replace('"epoch": 3', '"epoch": 4'))
    with pytest.raises(RunError, match=r"checkpoint.json is damaged \(it has changed\)"):
        checkpoints.load(trained.accelerator, checkpoints.latest())


def test_random_generators_that_accelerate_cannot_restore(checkpoints, monkeypatch):
    trained = Trained()
    trained.save(checkpoints, 5)

    def refuse(_):
        raise TypeError

    monkeypatch.setattr("accelerate.checkpointing.np.random.set_state", refuse)  # comes before torch's
    torch.rand(1)
    with pytest.raises(RunError, match="restored no random generators"):
        checkpoints.load(trained.accelerator, checkpoints.latest())


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "state/pytorch_model.bin",
        "state/optimizer.bin",
        "state/random_states_0.pkl",
        "state/process-0.json.tmp",
        "checkpoint.json.tmp",
    ],
)
def test_full_disk(checkpoints, tmp_path, name):
    """The kernel's own ENOSPC: the file leads to /dev/full, as the disk would be when that file's turn comes."""
    trained = Trained()
    trained.save(checkpoints, 5)

    def export(path):
        (path / name).symlink_to("/dev/full")
        trained.export(path)

    with pytest.raises(RunError) as error:
        trained.save(checkpoints, 10, export)
    size = sum(file.stat().st_size for file in (tmp_path / "step-000005").rglob("*"))
    assert f"{tmp_path / 'step-000010'} could not be saved: " in str(error.value)
    assert f"bytes are free, step-000005 took {size:,})" in str(error.value)
    assert names(tmp_path) == ["step-000005"]
    checkpoints.load(trained.accelerator, checkpoints.latest())
    trained.save(checkpoints, 10)  # there is room again
    assert names(tmp_path) == ["step-000005", "step-000010"]


def test_an_export_that_fails(checkpoints, tmp_path):
    trained = Trained()
    trained.save_best(checkpoints, 0.5)

    def export(path):
        (path / "config.json").write_text("{")
        raise TypeError("not a model")

    with pytest.raises(RunError, match="step-000005 could not be saved: TypeError: not a model"):
        trained.save(checkpoints, 5, export)
    with pytest.raises(RunError, match="best could not be saved: TypeError: not a model"):
        checkpoints.save_best(trained.accelerator, export, {})
    assert names(tmp_path) == ["best"]
    assert names(tmp_path / "best") == ["config.json", "metrics.json"]


def test_best_is_replaced(checkpoints, tmp_path):
    trained = Trained()
    for loss in (0.5, 0.4):
        trained.save_best(checkpoints, loss)
    assert checkpoints.best_folder() == tmp_path / "best"
    assert json.loads((tmp_path / "best" / "metrics.json").read_text()) == {"loss": 0.4}
    assert names(tmp_path) == ["best"]


def test_killed_before_any_change_of_the_disk(tmp_path, monkeypatch):
    """At every rename, sync, new folder and deletion in turn: what is found is whole, and the next save succeeds."""
    trained = Trained()
    monkeypatch.setattr(os, "fsync", lambda _: None)  # the kernel outlives this kill; saves time
    places = [(os, "rename"), (os, "replace"), (os, "fsync"), (os, "mkdir"), (shutil, "rmtree"), (os, "unlink")]
    kills = 0
    while True:
        folder = tmp_path / str(kills)
        folder.mkdir()
        checkpoints = Checkpoints(folder, keep=1)
        trained.save(checkpoints, 1)
        trained.save_best(checkpoints, 1.0)
        left = kills
        with monkeypatch.context() as patch:

            def kill_at_last(function):
                def call(*args, **options):
                    nonlocal left
                    left -= 1
                    if left < 0:
                        raise Killed
                    return function(*args, **options)

                return call

            for module, name in places:
                patch.setattr(module, name, kill_at_last(getattr(module, name)))
            try:
                trained.save(checkpoints, 2)
                trained.save_best(checkpoints, 2.0)
                break
            except Killed:
                kills += 1
        shutil.copytree(folder, tmp_path / "cleaned")
        Checkpoints(tmp_path / "cleaned", keep=1).clean()
        for found in (checkpoints, Checkpoints(tmp_path / "cleaned", keep=1)):
            assert found.latest()
            for path in found.folder.glob("step-??????"):
                found.load(trained.accelerator, path)
            assert names(found.best_folder()) == ["config.json", "metrics.json"]
            assert json.loads((found.best_folder() / "metrics.json").read_text())["loss"] in (1.0, 2.0)
        assert set(names(tmp_path / "cleaned")) <= {"best", "step-000001", "step-000002"}
        shutil.rmtree(tmp_path / "cleaned")
        trained.save(checkpoints, 2)
        trained.save_best(checkpoints, 2.0)
        assert json.loads((folder / "best" / "metrics.json").read_text()) == {"loss": 2.0}
        trained.save(checkpoints, 3)
        assert names(folder) == ["best", "step-000003"]
    assert kills > 25
    assert names(folder) == ["best", "step-000002"]


KILLED_FOR_REAL = """
import os, signal, sys, time
import torch
sys.path.insert(0, {tests!r})
from small_run import Checkpoints, Trained
checkpoints, trained = Checkpoints(sys.argv[1], keep=1), Trained(lambda: torch.nn.Linear(300, 300))
step = 0
for repetition in range(6):
    child = os.fork()
    if not child:
        while True:
            step += 1
            with torch.no_grad():
                trained.model.weight.fill_(step)
            trained.save(checkpoints, step)
            trained.save_best(checkpoints, float(step))
    deadline = time.monotonic() + 60
    while not (newest := checkpoints.latest()) or int(newest.name[5:]) < step + 3:
        assert time.monotonic() < deadline
    time.sleep(0.007 * repetition)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    newest = checkpoints.latest()
    checkpoints.load(trained.accelerator, newest)
    step = int(newest.name[5:])
    assert (trained.model.weight == step).all(), step
    assert (checkpoints.best_folder() / "metrics.json").exists()
print(step)
"""


def test_killed_for_real(tmp_path):
    result = run("-c", KILLED_FOR_REAL.format(tests=os.path.dirname(__file__)), tmp_path)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) >= 18


RANK = """
import sys
import torch
sys.path.insert(0, {tests!r})
from mulap_hf.pretraining import manifest
from mulap_hf.pretraining.run_folder import RunError
from small_run import STATE, Checkpoints, Trained
trained, checkpoints = Trained(), Checkpoints(sys.argv[1], keep=1)
accelerator = trained.accelerator
rank = accelerator.process_index
assert accelerator.num_processes == 2
torch.manual_seed(rank)
trained.train(2)
checkpoints.save(accelerator, 2, STATE, {{"rank": rank}}, trained.export)
after, draws = trained.tensors(), torch.rand(3)
try:
    checkpoints.save(accelerator, 4, STATE, {{"rank": rank if rank == 0 else torch}}, trained.export)
except RunError as error:
    assert "step-000004 could not be saved: process 1: TypeError: Object of type module" in str(error), error
else:
    raise SystemExit("the other process' failure went unnoticed")
trained.train(2)
verified, sha256 = set(), manifest._sha256
manifest._sha256 = lambda path: verified.add(path.name) or sha256(path)
assert checkpoints.load(accelerator, checkpoints.latest()) == (STATE, {{"rank": rank}})
shared = {{"pytorch_model.bin", "optimizer.bin", "custom_checkpoint_0.pkl"}}
own = [{{f"random_states_{{index}}.pkl", f"process-{{index}}.json"}} for index in range(2)]
assert verified == (shared | own[1] if rank else shared | own[0] | own[1] | {{"config.json"}}), verified
assert torch.equal(torch.rand(3), draws)
assert all(torch.equal(a, b) for a, b in zip(trained.tensors(), after, strict=True))
trained.save_best(checkpoints, 0.5)
drawn = accelerator.gather(draws[:1])
assert drawn[0] != drawn[1]
if rank == 1:  # what only this process reads
    (checkpoints.latest() / "state" / "random_states_1.pkl").write_bytes(b"")
accelerator.wait_for_everyone()
try:
    checkpoints.load(accelerator, checkpoints.latest())
except RunError as error:
    assert "random_states_1.pkl is damaged" in str(error), error
else:
    raise SystemExit("the damage went unnoticed")
del trained
accelerator.free_memory()  # a model for several processes that lives at exit makes torch 2.14 abort now and then
accelerator.end_training()
"""


def test_two_processes(checkpoints, tmp_path):
    (tmp_path / "rank.py").write_text(RANK.format(tests=os.path.dirname(__file__)))
    folder = tmp_path / "run"
    folder.mkdir()
    result = run_two_ranks(tmp_path / "rank.py", folder)
    assert result.returncode == 0, result.stderr
    assert names(folder) == ["best", "step-000002"]
    with pytest.raises(RunError, match=r"saved by 2 processes, this run has 1: .*launch as many processes as before"):
        checkpoints.load(Trained().accelerator, folder / "step-000002")
