"""The notebooks of training/examples, from their first cell to the last, in a kernel of Jupyter."""

import nbformat
import pytest
from helpers import OFFLINE, ROOT
from nbclient import NotebookClient
from tones import make_rows

EXAMPLES = ROOT / "training" / "examples"
# In the place of the settings of the first cell: short runs.
SETTINGS = {
    "embed_and_search": {},
    "fine_tune_a_tagger": {"EPOCHS": "1"},
    "pretrain_on_your_catalog": {"STEPS": "10", "BATCH": "4"},
}


@pytest.fixture
def place(tmp_path):
    """A folder that looks like a clone, with some music of the user's: class folders, and a catalog."""
    for name in ("model_cards", "training"):
        (tmp_path / name).symlink_to(ROOT / name, target_is_directory=True)
    lines = ["path,caption"]
    for row in make_rows("train", 20):
        for folder in (tmp_path / "my_labels" / row["register"], tmp_path / "my_music" / "train"):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / row["audio"]["path"]).write_bytes(row["audio"]["bytes"])
        lines.append(f'{row["audio"]["path"]},"{row["caption"]}"')
    (tmp_path / "my_music" / "train" / "catalog.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_all_notebooks_are_tested_and_stored_without_outputs():
    notebooks = {path.stem: nbformat.read(path, as_version=4) for path in EXAMPLES.glob("*.ipynb")}
    assert notebooks.keys() == SETTINGS.keys()
    assert not [cell for notebook in notebooks.values() for cell in notebook.cells if cell.get("outputs")]


@pytest.mark.parametrize("name", SETTINGS)
def test_notebook(name, place, monkeypatch):
    for variable, value in {**OFFLINE, "PYTHONPATH": str(ROOT / "src"), "IPYTHONDIR": str(place / "ipython")}.items():
        monkeypatch.setenv(variable, value)
    notebook = nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)
    settings = notebook.cells[1]
    for variable, value in SETTINGS[name].items():
        assert f"\n{variable} = " in settings.source
        settings.source += f"\n{variable} = {value}"
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(place)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    shown = "".join(str(output.get("data", "")) for output in outputs)
    assert "<audio " in shown and "image/png" in shown
    assert not [output for output in outputs if output.output_type == "error"]
