"""The test Hub, driven by the real `huggingface_hub`: what it takes, gives and refuses, and how the client says so."""

import hashlib
import json
import urllib.error
import urllib.request

import pytest
from helpers import run_fresh
from hub_card import check_card

LARGE = bytes(range(256)) * 40
PRELUDE = """
import json, sys, warnings
from pathlib import Path
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, ModelCard
api, folder, found = HfApi(), Path(sys.argv[1]), {}

def raised(function, *arguments, **options):
    try:
        return repr(function(*arguments, **options))
    except Exception as error:
        response = getattr(error, "response", None)
        return [type(error).__name__, response.status_code if response is not None else None, str(error)]
"""


@pytest.fixture
def client(hub, tmp_path):
    """Runs code in a process of a client and gives what it put into `found`."""

    def run_client(code: str, token: str | None = "hf_test", home: str = "home", **variables: str) -> dict:
        environment = {**hub.environment(tmp_path / home, token), **variables}
        result = run_fresh("-c", f"{PRELUDE}{code}\nprint('FOUND' + json.dumps(found))", tmp_path, env=environment)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout.split("FOUND")[1])

    hub.requests.clear()
    return run_client


def write_folder(folder, **files: bytes):
    (folder / "upload" / "code").mkdir(parents=True)
    contents = {"README.md": b"---\nlicense: mit\ntags: [music]\n---\n# Card\n", "code/model.py": b"x = 1\n", **files}
    for name, content in {"weights.safetensors": LARGE, **contents}.items():
        (folder / "upload" / name).write_bytes(content)


def test_round_trip_with_large_files_and_offline(hub, client, tmp_path):
    write_folder(tmp_path)
    found = client("""
found["who"] = api.whoami()["name"]
found["url"] = str(api.create_repo("org/round"))
found["again"] = raised(api.create_repo, "org/round")
api.create_repo("org/round", exist_ok=True)
first = api.upload_folder(repo_id="org/round", folder_path=folder / "upload", commit_message="first")
found["unchanged"] = api.upload_folder(repo_id="org/round", folder_path=folder / "upload").oid == first.oid
copy = Path(api.snapshot_download("org/round"))
found["copy"] = {str(path.relative_to(copy)): path.read_bytes().hex() for path in copy.rglob("*") if path.is_file()}
info = api.model_info("org/round", files_metadata=True)
found["info"] = [info.sha == first.oid, info.card_data.license, info.tags, info.private]
found["siblings"] = {file.rfilename: [file.size, file.lfs and file.lfs.sha256] for file in info.siblings}
found["tree"] = [entry.path for entry in api.list_repo_tree("org/round")]
found["all"] = [entry.path for entry in api.list_repo_tree("org/round", recursive=True)]
found["below"] = [entry.path for entry in api.list_repo_tree("org/round", "code")]
found["paths"] = [entry.path for entry in api.get_paths_info("org/round", ["code", "README.md", "none"])]
found["titles"] = [commit.title for commit in api.list_repo_commits("org/round")]
""")
    assert found["who"] == "org" and found["url"] == f"{hub.url}/org/round"
    assert found["again"][:2] == ["HfHubHTTPError", 409]
    assert found["unchanged"]
    uploaded = {str(path.relative_to(tmp_path / "upload")): path for path in (tmp_path / "upload").rglob("*.*")}
    assert {name: found["copy"][name] for name in uploaded} == {
        name: path.read_bytes().hex() for name, path in uploaded.items()
    }
    assert found["info"] == [True, "mit", ["music"], False]
    sha256 = hashlib.sha256(LARGE).hexdigest()
    assert found["siblings"]["weights.safetensors"] == [len(LARGE), sha256]
    assert found["siblings"]["code/model.py"] == [6, None]
    assert found["tree"] == [".gitattributes", "README.md", "code", "weights.safetensors"]
    assert found["all"] == [".gitattributes", "README.md", "code", "code/model.py", "weights.safetensors"]
    assert found["below"] == ["code/model.py"]
    assert found["paths"] == ["README.md", "code"]
    assert found["titles"] == ["first", "initial commit"]
    storage = [request for request in hub.requests if request.url.startswith(hub.storage_url)]
    assert [request.method for request in storage] == ["PUT", "GET"]
    assert not any(request.token for request in storage)
    assert {request.token for request in hub.requests if "/org/round" in request.path} == {"hf_test"}
    hub.requests.clear()
    offline = 'found["names"] = sorted(path.name for path in Path(api.snapshot_download("org/round")).iterdir())'
    assert client(offline, HF_HUB_OFFLINE="1")["names"] == found["tree"]
    assert not hub.requests


def test_revisions_branches_tags_and_pull_requests(client):
    found = client("""
def read(revision=None):
    return Path(api.hf_hub_download("org/versions", "a.txt", revision=revision)).read_text()

def write(content, **options):
    return api.upload_file(repo_id="org/versions", path_or_fileobj=content, path_in_repo="a.txt", **options)

api.create_repo("org/versions")
first = write(b"one").oid
api.create_tag("org/versions", tag="v1.0")
api.create_branch("org/versions", branch="a/branch")
second = write(b"two").oid
write(b"three", revision="a/branch")
request = write(b"four", create_pr=True)
found["read"] = [read(revision) for revision in (None, "main", first, second, "v1.0", "a/branch", "refs/pr/1")]
found["request"] = [request.pr_revision, request.pr_url]
refs = api.list_repo_refs("org/versions", include_pull_requests=True)
found["refs"] = [[ref.name for ref in refs] for refs in (refs.branches, refs.tags, refs.pull_requests)]
found["tagged"] = refs.tags[0].target_commit == first
add = CommitOperationAdd("b.txt", b"b")
found["conflict"] = raised(api.create_commit, "org/versions", [add], commit_message="late", parent_commit=first)
add = CommitOperationAdd("b.txt", b"b")
api.create_commit("org/versions", [add], commit_message="in time", parent_commit=second)
found["same tag"] = raised(api.create_tag, "org/versions", tag="v1.0")
api.delete_tag("org/versions", tag="v1.0")
api.delete_branch("org/versions", branch="a/branch")
found["gone"] = [raised(read, "v1.0"), raised(api.delete_tag, "org/versions", tag="v1.0")]
found["to a tag"] = raised(write, b"five", revision=first)
api.create_commit("org/versions", [CommitOperationDelete("a.txt")], commit_message="delete")
found["deleted"] = raised(read)
found["deleted twice"] = raised(api.delete_file, "a.txt", "org/versions")
found["kept"] = read(second)
""")
    assert found["read"] == ["two", "two", "one", "two", "one", "three", "four"]
    assert found["request"][0] == "refs/pr/1" and found["request"][1].endswith("/org/versions/discussions/1")
    assert found["refs"] == [["main", "a/branch"], ["v1.0"], ["refs/pr/1"]]
    assert found["tagged"]
    assert found["conflict"][:2] == ["HfHubHTTPError", 412]
    assert found["same tag"][:2] == ["HfHubHTTPError", 409]
    assert [error[:2] for error in found["gone"]] == [["RevisionNotFoundError", 404]] * 2
    assert found["to a tag"][:2] == ["RevisionNotFoundError", 404]
    assert found["deleted"][:2] == found["deleted twice"][:2] == ["RemoteEntryNotFoundError", 404]
    assert found["kept"] == "two"


def test_private_and_gated_repositories(hub, client, tmp_path):
    write_folder(tmp_path)
    client("""
for name in ("private", "gated"):
    api.create_repo(f"org/{name}", private=name == "private")
    api.upload_folder(repo_id=f"org/{name}", folder_path=folder / "upload")
api.update_repo_settings("org/gated", gated="auto")
""")
    use = """
found["info"] = raised(lambda: api.model_info("org/private").sha)
found["file"] = raised(lambda: Path(api.hf_hub_download("org/private", "weights.safetensors")).stat().st_size)
found["snapshot"] = raised(lambda: len(list(Path(api.snapshot_download("org/private")).iterdir())))
found["tree"] = raised(lambda: len(list(api.list_repo_tree("org/private"))))
found["exists"] = api.repo_exists("org/private")
found["gated info"] = raised(lambda: api.model_info("org/gated").gated)
found["gated file"] = raised(lambda: Path(api.hf_hub_download("org/gated", "weights.safetensors")).stat().st_size)
found["check"] = raised(api.auth_check, "org/gated")
"""
    for token, status in ((None, 401), ("hf_other", 404)):
        found = client(use, token, home=str(token))
        for key in ("info", "file", "snapshot", "tree"):
            assert found[key][:2] == ["RepositoryNotFoundError", status]
        assert found["exists"] is False
        assert found["gated info"] == "'auto'"
        assert found["gated file"][:2] == found["check"][:2] == ["GatedRepoError", 401 if token is None else 403]
    for token in ("hf_test", "hf_read"):
        found = client(use, token, home=token)
        assert found["file"] == found["gated file"] == str(len(LARGE))
        assert found["snapshot"] == found["tree"] == "4" and found["exists"]
    found = client('found["info"] = raised(api.model_info, "org/private")', token="hf_nobody")
    assert found["info"][:2] == ["HfHubHTTPError", 401] and "Invalid credentials" in found["info"][2]
    client('api.update_repo_settings("org/private", private=False)')
    assert client('found["private"] = api.model_info("org/private").private', token=None) == {"private": False}


@pytest.mark.parametrize(("token", "status"), [("hf_other", 403), ("hf_read", 403), (None, 401)])
def test_who_may_not_write(token, status, hub, client):
    client('api.create_repo("org/mine", exist_ok=True)')
    hub.requests.clear()
    found = client(
        """
found["create"] = raised(api.create_repo, "org/theirs")
found["delete"] = raised(api.delete_repo, "org/mine")
found["settings"] = raised(api.update_repo_settings, "org/mine", private=True)
found["tag"] = raised(api.create_tag, "org/mine", tag="v1")
found["upload"] = raised(api.upload_file, repo_id="org/mine", path_or_fileobj=bytes(9), path_in_repo="a.bin")
""",
        token,
    )
    assert {key: error[1] for key, error in found.items()} == dict.fromkeys(found, status)
    assert [request for request in hub.requests if request.writes and request.status < 400] == []
    mine = hub.repositories["model", "org/mine"]
    assert not mine.private and not mine.tags and len(mine.commits) == 1
    assert ("model", "org/theirs") not in hub.repositories


def test_a_stranger_may_ask(hub, client):
    client('api.create_repo("org/asked")')
    upload = """
upload = dict(repo_id="org/asked", path_or_fileobj=bytes(9), path_in_repo="a.bin")
found["revision"] = api.upload_file(**upload, create_pr=True).pr_revision
"""
    assert client(upload, token="hf_other") == {"revision": "refs/pr/1"}
    assert list(hub.repositories["model", "org/asked"].find("main").files) == [".gitattributes"]


def test_what_is_not_there(client):
    found = client("""
api.create_repo("org/there")
for kind, function in {"info": api.model_info, "tree": lambda *a, **b: list(api.list_repo_tree(*a, **b))}.items():
    found[f"{kind} repository"] = raised(function, "org/none")
    found[f"{kind} revision"] = raised(function, "org/there", revision="none")
found["file repository"] = raised(api.hf_hub_download, "org/none", "a.txt")
found["file revision"] = raised(api.hf_hub_download, "org/there", "a.txt", revision="none")
found["file entry"] = raised(api.hf_hub_download, "org/there", "a.txt")
found["tree entry"] = raised(lambda: list(api.list_repo_tree("org/there", "♪/none")))
found["commit repository"] = raised(
    api.create_commit, "org/none", [CommitOperationAdd("a.txt", b"a")], commit_message="a")
found["dataset repository"] = raised(api.dataset_info, "org/there")
api.delete_repo("org/there")
found["deleted repository"] = raised(api.model_info, "org/there")
found["twice repository"] = raised(api.delete_repo, "org/there")
""")
    names = {
        "repository": "RepositoryNotFoundError",
        "revision": "RevisionNotFoundError",
        "entry": "RemoteEntryNotFoundError",
    }
    assert {what: error[:2] for what, error in found.items()} == {
        what: [names[what.split()[1]], 404] for what in found
    }


def test_datasets_and_spaces(hub, client):
    found = client("""
for kind, options in {"dataset": {}, "space": {"space_sdk": "gradio"}}.items():
    api.create_repo("org/same", repo_type=kind, **options)
    api.upload_file(repo_id="org/same", repo_type=kind, path_or_fileobj=kind.encode() + bytes(9), path_in_repo="a.bin")
    found[kind] = Path(api.hf_hub_download("org/same", "a.bin", repo_type=kind)).read_bytes().decode()
    found[f"{kind} sha"] = api.repo_info("org/same", repo_type=kind).sha
    api.delete_repo("org/same", repo_type=kind)
""")
    assert found["dataset"] == "dataset" + "\0" * 9 and found["space"] == "space" + "\0" * 9
    assert not {("dataset", "org/same"), ("space", "org/same")} & hub.repositories.keys()


def test_parts_of_files(client, tmp_path):
    write_folder(tmp_path)
    found = client("""
from huggingface_hub import get_session, hf_hub_url
api.create_repo("org/parts")
api.upload_folder(repo_id="org/parts", folder_path=folder / "upload")
for name in ("weights.safetensors", "code/model.py"):
    for part in ("2-5", "4-", "-3", "90000-"):
        response = get_session().get(
            hf_hub_url("org/parts", name), headers={"Range": f"bytes={part}"}, follow_redirects=True)
        content = response.content.hex()[:12]
        found[f"{name} {part}"] = [response.status_code, response.headers["content-range"], content]
head = get_session().head(hf_hub_url("org/parts", "code/model.py"))
found["head"] = [head.status_code, head.headers["content-length"], head.content.hex()]
""")
    size = len(LARGE)
    assert found["weights.safetensors 2-5"] == [206, f"bytes 2-5/{size}", "02030405"]
    assert found["weights.safetensors 4-"] == [206, f"bytes 4-{size - 1}/{size}", "040506070809"]
    assert found["weights.safetensors -3"] == [206, f"bytes {size - 3}-{size - 1}/{size}", "fdfeff"]
    assert found["weights.safetensors 90000-"][:2] == [416, f"bytes */{size}"]
    assert found["code/model.py 2-5"] == [206, "bytes 2-5/6", b"= 1\n".hex()]
    assert found["code/model.py -3"] == [206, "bytes 3-5/6", b" 1\n".hex()]
    assert found["head"] == [200, "6", ""]


def test_storage_takes_the_right_bytes_and_no_token(hub):
    url = f"{hub.storage_url}/{hashlib.sha256(LARGE).hexdigest()}"
    authorization = {"Authorization": "Bearer hf_test"}
    statuses = []
    for content, headers in ((LARGE[1:], {}), (LARGE, authorization), (LARGE, {})):
        request = urllib.request.Request(url, content, headers, method="PUT")
        try:
            statuses.append(urllib.request.urlopen(request).status)
        except urllib.error.HTTPError as error:
            statuses.append(error.code)
    assert statuses == [400, 400, 200]


def test_card_that_the_hub_refuses(hub, client, tmp_path):
    write_folder(tmp_path, **{"README.md": b"---\nlicense: apache\n---\n"})
    hub.requests.clear()
    found = client("""
api.create_repo("org/card")
found["upload"] = raised(api.upload_folder, repo_id="org/card", folder_path=folder / "upload")
found["validate"] = raised(ModelCard("---\\nlicense: apache\\n---\\n").validate)
found["push"] = raised(ModelCard("---\\nlicense: apache\\n---\\n").push_to_hub, "org/card")
with warnings.catch_warnings(record=True) as caught:
    api.upload_file(repo_id="org/card", path_or_fileobj=b"no metadata", path_in_repo="README.md")
found["warning"] = str(caught[-1].message)
ModelCard("---\\nlicense: mit\\n---\\n# Good\\n").push_to_hub("org/card")
found["card"] = ModelCard.load("org/card").text.strip()
""")
    for kind in ("upload", "validate", "push"):
        assert found[kind][0] == "ValueError"
        assert '"license" must be one of [apache-2.0, mit, ' in found[kind][2]
    assert found["warning"].endswith("- empty or missing yaml metadata in repo card")
    assert found["card"] == "# Good"
    assert sum("/preupload/" in request.path for request in hub.requests) == 2


RESULT = "{task: {type: t}, dataset: {type: org/d, name: D}, metrics: [{type: auc, value: 0.5}]}"


@pytest.mark.parametrize(
    ("kind", "metadata", "errors"),
    [
        ("model", "license: apache-2.0\nlanguage: [en, code]\ndatasets: [org/d]\nunknown: 1", []),
        ("model", f"model-index: [{{name: m, results: [{RESULT}]}}]", []),
        ("model", "license: [", ["Invalid YAML in README.md: "]),
        ("model", "- a", ['"value" must be of type object']),
        ("model", "just text", ["The YAML metadata of your README.md is invalid."]),
        ("model", "tags: music", ['"tags" must be an array']),
        ("model", "language: [english]", ['"language[0]" with value "english" fails to match']),
        ("model", "model-index: {}", ['"model-index" must be an array']),
        ("model", "model-index: [{results: []}]", ['"model-index[0].name" is required']),
        (
            "model",
            "model-index: [{name: m, results: [{task: {}, dataset: {type: a b, name: 1}, metrics: [{type: auc}]}]}]",
            [
                '"model-index[0].results[0].task.type" is required',
                '"model-index[0].results[0].dataset.type" with value "a b" fails to match the required pattern',
                '"model-index[0].results[0].dataset.name" must be a string',
                '"model-index[0].results[0].metrics[0].value" is required',
            ],
        ),
        ("space", "title: Tags", ['"sdk" is required']),
        (
            "space",
            "sdk: streamlits\nsdk_version: 5.1\ncolorFrom: orange\nshort_description: " + "a" * 61,
            [
                '"sdk" must be one of [gradio, docker, static, streamlit]',
                '"sdk_version" must be a string',
                '"short_description" length must be less than or equal to 60',
                '"colorFrom" must be one of [red, yellow, green, blue, indigo, purple, pink, gray]',
            ],
        ),
    ],
)
def test_errors_of_a_card(kind, metadata, errors):
    found, warnings = check_card(f"---\n{metadata}\n---\n# Card\n", kind)
    assert len(found) == len(errors) and not warnings
    for message, start in zip(found, errors, strict=True):
        assert message.startswith(start)


def test_tasks_that_the_hub_does_not_know_are_warned_of():
    errors, warnings = check_card("---\npipeline_tag: text-music-retrieval\n---\n")
    assert not errors
    assert warnings[0].startswith('The pipeline_tag "text-music-retrieval" is not in the official list: text-class')
    assert check_card("---\npipeline_tag: feature-extraction\n---\n") == ([], [])
    assert check_card("# No metadata") == ([], ["empty or missing yaml metadata in repo card"])
