"""The built wheel, where there is no clone: it has all that it needs, in the version of the package."""

import shutil
import zipfile

import pytest
from helpers import ROOT, run_fresh

import mulap_hf

USE = """
import sys
from importlib.metadata import entry_points, version
import mulap_hf
assert mulap_hf.__file__.startswith(sys.argv[1]) and version("mulap-hf") == mulap_hf.__version__
from transformers import AutoModel, AutoProcessor, pipeline
for auto in (AutoModel, AutoProcessor):
    auto.from_pretrained(sys.argv[2]).save_pretrained("saved")  # with their code
embedding = pipeline("feature-extraction", model="saved", trust_remote_code=True)(sys.argv[3])
assert len(embedding) == 742
(command,) = entry_points(group="console_scripts", name="mulap")
sys.argv[1:] = ["embed", sys.argv[3], "--model", sys.argv[2], "--output", sys.argv[1] + "/out.parquet"]
command.load()()
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The content of the wheel, as pip would install it."""
    source, site = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    built = run_fresh("-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", source, source)
    assert built.returncode == 0, built.stderr
    (wheel,) = source.glob("*.whl")
    assert wheel.name.startswith(f"mulap_hf-{mulap_hf.__version__}-")
    zipfile.ZipFile(wheel).extractall(site)
    return site


def test_files(site):
    package = site / "mulap_hf"
    expected = {path.relative_to(ROOT / "src" / "mulap_hf") for path in (ROOT / "src" / "mulap_hf").rglob("*.py")}
    assert {path.relative_to(package) for path in package.rglob("*.py")} == expected
    assert (package / "py.typed").is_file()


def test_it_works_without_the_clone(site, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(site))
    tiny = ROOT / "model_cards" / "mulap-tiny"
    result = run_fresh("-c", USE, site, tiny, tiny / "samples" / "reggae.flac")
    assert result.returncode == 0, result.stderr
    assert "1 of 1 files embedded" in result.stdout
