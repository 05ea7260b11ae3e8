"""How every command ends: its exit status and its last line."""

import importlib.metadata

import pytest

from mulap_hf.errors import AudioError, DataError, Interrupted, MissingPackageError, ModelError, MulapError, RunError
from mulap_hf.files import make_folder
from mulap_hf.scripts import run_script


def end_of(run_main, capsys, **options) -> tuple[int, str]:
    """Exit status and stderr of a script."""
    with pytest.raises(SystemExit) as end:
        run_script(run_main, **options)
    return end.value.code, capsys.readouterr().err


def failing(error: BaseException):
    def main():
        raise error

    return main


def test_exit_status(capsys):
    assert end_of(lambda: None, capsys) == (0, "")
    assert end_of(lambda: 1, capsys) == (1, "")
    assert end_of(failing(ModelError("bert: not a MuLaP")), capsys) == (1, "error: bert: not a MuLaP\n")
    assert end_of(failing(MulapError("no files")), capsys, failed=2) == (2, "error: no files\n")
    assert end_of(failing(Interrupted("stopped after step 3")), capsys) == (130, "stopped after step 3\n")
    assert end_of(failing(KeyboardInterrupt()), capsys) == (130, "interrupted: repeat the command to resume\n")


def test_missing_packages_of_an_extra_say_how_to_install_it(capsys, monkeypatch):
    missing = failing(ImportError("cannot import name 'TSNE'", name="sklearn.manifold"))
    with pytest.raises(ImportError, match="TSNE"):  # the package is there: another problem
        run_script(missing)

    def version(name: str):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    expected = 'error: sklearn.manifold is not installed: pip install "mulap-hf[train]"\n'
    assert end_of(missing, capsys) == (1, expected)


@pytest.mark.parametrize(
    "error", [OSError("disk full"), ValueError("a bug"), ModuleNotFoundError("of nobody", name="of_nobody")]
)
def test_unexpected_errors_keep_their_traceback(error):
    with pytest.raises(type(error), match=str(error)):
        run_script(failing(error))


def test_errors_are_also_what_callers_may_catch():
    assert all(issubclass(kind, ValueError) for kind in (AudioError, DataError, ModelError))
    assert issubclass(RunError, RuntimeError) and issubclass(MissingPackageError, ImportError)


def test_output_folder_that_cannot_be_created(tmp_path):
    assert make_folder(tmp_path / "a" / "b").is_dir() and make_folder(tmp_path / "a") == tmp_path / "a"
    (tmp_path / "file").touch()
    with pytest.raises(MulapError, match=r"^--output .*file/out cannot be created: Not a directory: choose another"):
        make_folder(tmp_path / "file" / "out", "--output")
