"""What the test Hub answers: users and their rights, and one function per endpoint that the real client calls."""

import base64
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from hub_card import check_card, front_matter
from hub_store import Commit, File, HubError, Repository

LARGE = 10 * 2**20  # bytes from which text goes to LFS as well


@dataclass(frozen=True)
class User:
    name: str
    role: str = "write"  # of the token; a "fineGrained" one may write here, too


USERS = {
    "hf_test": User("org"),
    "hf_fine": User("org", role="fineGrained"),
    "hf_read": User("org", role="read"),
    "hf_other": User("other"),
}


@dataclass
class Request:
    """A request, and the status it was answered with."""

    method: str
    url: str  # with host and query
    headers: dict[str, str]  # names in lower case
    body: bytes
    status: int = 0

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def query(self) -> dict[str, str]:
        return {name: values[-1] for name, values in parse_qs(urlsplit(self.url).query).items()}

    @property
    def json(self) -> Any:
        return json.loads(self.body or b"{}")

    @property
    def token(self) -> str | None:
        return self.headers.get("authorization", "").removeprefix("Bearer ") or None

    @property
    def writes(self) -> bool:
        """Whether it would change something, or brings files to do so."""
        questions = ("/api/validate-yaml", "/paths-info/")
        return self.method not in ("GET", "HEAD") and not any(question in self.path for question in questions)


@dataclass
class Response:
    content: Any = b""  # bytes, or what becomes JSON
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        return self.content if isinstance(self.content, bytes) else json.dumps(self.content, default=str).encode()


class Hub:
    """What the answers are made from.

    Attributes:
        url: of the Hub.
        storage_url: of the LFS storage.
        repositories: by kind and name.
        stored: bytes in the LFS storage, by SHA-256.
    """

    def __init__(self, url: str, storage_url: str):
        self.url, self.storage_url = url, storage_url
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.stored: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def user(self, request: Request) -> User | None:
        if request.token and request.token not in USERS:
            raise HubError(401, "Invalid credentials in Authorization header")
        return USERS.get(request.token)

    def repository(self, request: Request, kind: str, name: str, access: str) -> Repository:
        """The repository, if it exists and the user has access to it: "see", "files", "write" or "write_or_request"
        (a pull request). Who may not see it is told the same as if it did not exist."""
        user, repository = self.user(request), self.repositories.get((kind, name))
        owned = repository is not None and user is not None and user.name == repository.owner
        anonymous = HubError(401, "Invalid username or password.", "RepoNotFound")
        if repository is None or (repository.private and not owned):
            raise HubError(404, "Repository not found", "RepoNotFound") if user else anonymous
        if access == "files" and repository.gated and not owned:
            restricted = f"Access to {kind} {name} is restricted and you are not in the authorized list."
            raise HubError(403 if user else 401, restricted, "GatedRepo")
        if access.startswith("write"):
            if not user:
                raise anonymous
            asks_only = access == "write_or_request" and request.query.get("create_pr") == "1"
            if not asks_only and not (owned and user.role != "read"):
                hint = "pass `create_pr=1` as a query parameter to create a Pull Request"
                raise HubError(403, f"Forbidden: {hint}")
        return repository

    def answer(self, request: Request) -> Response:
        try:
            for methods, pattern, function in ROUTES:
                found = pattern.fullmatch(request.path)
                if found and request.method in methods:
                    groups = {name: unquote(value) for name, value in found.groupdict(default="").items()}
                    with self._lock:
                        return function(self, request, **groups)
            raise HubError(404, f"no route {request.method} {request.path}")
        except HubError as error:
            return Response({"error": str(error)}, error.status, error.headers)


ROUTES: list[tuple[list[str], re.Pattern, Callable[..., Response]]] = []
_NAME = r"(?P<name>[^/]+/[^/]+?)"
_API = rf"/api/(?P<kind>model|dataset|space)s/{_NAME}"
_PAGE = rf"/(?:(?P<kind>dataset|space)s/)?{_NAME}"


def route(methods: str, pattern: str):
    """Answers requests whose path matches; the groups are arguments."""

    def register(function):
        ROUTES.append((methods.split(), re.compile(pattern), function))
        return function

    return register


def repository_route(methods: str, pattern: str, access: str = "see"):
    """The same for paths of a repository, which the function gets instead of `kind` and `name`."""

    def register(function):
        @route(methods, pattern)
        def with_repository(hub: Hub, request: Request, name: str, kind: str = "", **groups: str) -> Response:
            return function(hub, request, hub.repository(request, kind or "model", name, access), **groups)

        return function

    return register


@route("GET", "/api/whoami-v2")
def whoami(hub: Hub, request: Request) -> Response:
    user = hub.user(request)
    if not user:
        raise HubError(401, "Invalid username or password.")
    token = {"type": "access_token", "accessToken": {"displayName": "tests", "role": user.role}}
    return Response({"type": "user", "name": user.name, "fullname": user.name, "orgs": [], "auth": token})


@route("POST", "/api/validate-yaml")
def validate_yaml(_hub: Hub, request: Request) -> Response:
    errors, warnings = check_card(request.json["content"], request.json.get("repoType") or "model")
    status = 400 if errors else 200
    if request.headers.get("accept") == "text/plain":  # ModelCard.validate
        return Response("\n".join(f"- Error: {error}" for error in errors).encode(), status)
    answer = {"errors": [{"message": error} for error in errors], "warnings": [{"message": w} for w in warnings]}
    return Response(answer, status)


def _named(hub: Hub, request: Request) -> tuple[str, str]:
    user = hub.user(request)
    if not user:
        raise HubError(401, "Invalid username or password.")
    owner, kind = request.json.get("organization") or user.name, request.json.get("type") or "model"
    if user.name != owner or user.role == "read":
        raise HubError(403, f'You don\'t have the rights to create a {kind} under the namespace "{owner}"')
    return kind, f"{owner}/{request.json['name']}"


@route("POST", "/api/repos/create")
def create_repository(hub: Hub, request: Request) -> Response:
    kind, name = _named(hub, request)
    exists = (kind, name) in hub.repositories
    repository = hub.repositories.setdefault((kind, name), Repository(kind, name, _private(request.json)))
    answer = {"url": f"{hub.url}/{repository.url_path}", "name": name}
    return Response({**answer, "error": f"You already created this {kind} repo"}, 409) if exists else Response(answer)


def _private(settings: dict[str, Any]) -> bool:
    """Older clients say private, newer ones visibility."""
    return bool(settings.get("private", settings.get("visibility") == "private"))


@route("DELETE", "/api/repos/delete")
def delete_repository(hub: Hub, request: Request) -> Response:
    if not hub.repositories.pop(_named(hub, request), None):
        raise HubError(404, "Repository not found", "RepoNotFound")
    return Response({})


@repository_route("PUT", f"{_API}/settings", access="write")
def settings(_hub: Hub, request: Request, repository: Repository) -> Response:
    if request.json.keys() & {"private", "visibility"}:
        repository.private = _private(request.json)
    repository.gated = request.json.get("gated", repository.gated)
    return Response({})


@repository_route("POST", "/api/(?P<kind>space)s/" + _NAME + "/variables", access="write")
def set_variable(_hub: Hub, request: Request, repository: Repository) -> Response:
    repository.variables[request.json["key"]] = request.json["value"]
    return Response({key: {"value": value} for key, value in repository.variables.items()})


@repository_route("GET", f"{_API}/auth-check", access="files")
@repository_route("GET", f"{_API}/auth-check/write", access="write")
def check_access(_hub: Hub, _request: Request, _repository: Repository) -> Response:
    return Response({})


@repository_route("GET HEAD", _API)
@repository_route("GET HEAD", rf"{_API}/revision/(?P<revision>[^/]+)")
def describe(_hub: Hub, request: Request, repository: Repository, revision: str = "main") -> Response:
    sized = request.query.get("blobs", "").lower() in ("1", "true")
    return Response(_description(repository, repository.find(revision), sized))


def _description(repository: Repository, commit: Commit, sized: bool = False) -> dict[str, Any]:
    files = commit.files
    card = (front_matter(files["README.md"].data.decode()) if "README.md" in files else None) or {}
    return {
        "id": repository.name,
        "author": repository.owner,
        "sha": commit.sha,
        "private": repository.private,
        "gated": repository.gated,
        "createdAt": repository.history("main")[-1].date,
        "lastModified": commit.date,
        "cardData": card,
        "tags": card.get("tags", []),
        "pipeline_tag": card.get("pipeline_tag"),
        "library_name": card.get("library_name"),
        "config": json.loads(files["config.json"].data) if "config.json" in files else None,
        "siblings": [
            {"rfilename": path} | ({"blobId": file.blob_id, **file.facts()} if sized else {})
            for path, file in sorted(files.items())
        ],
    }


@repository_route("GET", f"{_API}/refs")
def references(_hub: Hub, _request: Request, repository: Repository) -> Response:
    def listed(names: dict[str, str], prefix: str) -> list[dict[str, str]]:
        return [{"name": name, "ref": prefix + name, "targetCommit": sha} for name, sha in names.items()]

    requests = {name: sha for name, sha in repository.branches.items() if name.startswith("refs/pr/")}
    branches = {name: sha for name, sha in repository.branches.items() if name not in requests}
    names = {"branches": listed(branches, "refs/heads/"), "tags": listed(repository.tags, "refs/tags/")}
    return Response({**names, "pullRequests": listed(requests, ""), "converts": []})


@repository_route("GET", f"{_API}/commits/(?P<revision>[^/]+)")
def commits(_hub: Hub, _request: Request, repository: Repository, revision: str) -> Response:
    return Response(
        [
            {"id": commit.sha, "title": commit.title, "message": "", "date": commit.date, "authors": []}
            for commit in repository.history(revision)
        ]
    )


@repository_route("GET", f"{_API}/tree/(?P<revision>[^/]+)(?:/(?P<folder>.+))?")
def tree(_hub: Hub, request: Request, repository: Repository, revision: str, folder: str) -> Response:
    recursive = request.query.get("recursive", "").lower() in ("1", "true")
    entries = repository.find(revision).entries(folder, recursive)
    if folder and not entries:
        raise HubError(404, f"{folder} does not exist on {revision}", "EntryNotFound")
    return Response(entries)


@repository_route("POST", f"{_API}/paths-info/(?P<revision>[^/]+)")
def paths_info(_hub: Hub, request: Request, repository: Repository, revision: str) -> Response:
    paths = parse_qs(request.body.decode()).get("paths", [])
    return Response([entry for entry in repository.find(revision).entries() if entry["path"] in paths])


@repository_route("POST DELETE", f"{_API}/branch/(?P<branch>[^/]+)", access="write")
def change_branch(_hub: Hub, request: Request, repository: Repository, branch: str) -> Response:
    if request.method == "DELETE":
        if branch == "main":
            raise HubError(403, "Cannot delete the main branch")
        _remove(repository.branches, branch)
    else:
        _add(repository.branches, branch, repository.find(request.json.get("startingPoint", "main")))
    return Response({})


@repository_route("POST DELETE", f"{_API}/tag/(?P<revision>[^/]+)", access="write")
def change_tag(_hub: Hub, request: Request, repository: Repository, revision: str) -> Response:
    if request.method == "DELETE":
        _remove(repository.tags, revision)
    else:
        _add(repository.tags, request.json["tag"], repository.find(revision))
    return Response({})


def _add(references: dict[str, str], name: str, commit: Commit):
    if name in references:
        raise HubError(409, f"Reference {name} exists already")
    references[name] = commit.sha


def _remove(references: dict[str, str], name: str):
    if name not in references:
        raise HubError(404, f"Reference {name} does not exist", "RevisionNotFound")
    del references[name]


@repository_route("POST", f"{_API}/preupload/(?P<revision>[^/]+)", access="write_or_request")
def choose_upload(_hub: Hub, request: Request, repository: Repository, revision: str) -> Response:
    present, answers = repository.find(revision).files, []
    for file in request.json["files"]:
        large = file["size"] > LARGE or b"\0" in base64.b64decode(file["sample"])  # text is what has no zeros
        old = {"oid": present[file["path"]].etag} if file["path"] in present else {}
        mode = "lfs" if large else "regular"
        answers.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, **old})
    return Response({"files": answers})


@repository_route("POST", rf"{_PAGE}\.git/info/lfs/objects/batch")
def lfs_batch(hub: Hub, request: Request, _repository: Repository) -> Response:
    """https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md"""
    verify = request.url.replace("/objects/batch", "/verify")
    objects = [{"oid": file["oid"], "size": file["size"]} for file in request.json["objects"]]
    for file in objects:
        if file["oid"] not in hub.stored:
            upload = f"{hub.storage_url}/{file['oid']}"
            file["actions"] = {"upload": {"href": upload}, "verify": {"href": verify}}
    return Response({"transfer": "basic", "objects": objects})


@repository_route("POST", rf"{_PAGE}\.git/info/lfs/verify")
def lfs_verify(hub: Hub, request: Request, _repository: Repository) -> Response:
    if len(hub.stored.get(request.json["oid"], b"")) != request.json["size"]:
        raise HubError(404, f"object {request.json['oid']} is not stored with this size")
    return Response({})


@route("GET HEAD PUT", "/storage/(?P<oid>[0-9a-f]{64})")
def storage(hub: Hub, request: Request, oid: str) -> Response:
    if request.token:
        raise HubError(400, "Only one auth mechanism allowed: the address is signed")
    if request.method != "PUT":
        return _ranged(request, hub.stored[oid], {"ETag": f'"{oid}"'})
    if File(request.body).sha256 != oid:
        raise HubError(400, "The bytes are not those of the address")
    hub.stored[oid] = request.body
    return Response()


@repository_route("POST", f"{_API}/commit/(?P<revision>[^/]+)", access="write_or_request")
def commit(hub: Hub, request: Request, repository: Repository, revision: str) -> Response:
    lines = [json.loads(line) for line in request.body.splitlines() if line.strip()]
    header, operations = lines[0]["value"], lines[1:]
    head, branch, answer = repository.find(revision), revision.removeprefix("refs/heads/"), {}
    if header.get("parentCommit") not in (None, head.sha):
        raise HubError(412, "A commit has happened since. Please refresh and try again.")
    files = dict(head.files)
    for operation in operations:
        _apply(operation["key"], operation["value"], files, hub.stored)
    errors = check_card(files["README.md"].data.decode(), repository.kind)[0] if "README.md" in files else []
    if errors:
        raise HubError(400, "\n".join(errors))
    if request.query.get("create_pr") == "1":
        number = 1 + sum(name.startswith("refs/pr/") for name in repository.branches)
        branch = f"refs/pr/{number}"
        answer["pullRequestUrl"] = f"{hub.url}/{repository.url_path}/discussions/{number}"
    elif branch not in repository.branches:
        raise HubError(404, f"{revision} does not name a branch", "RevisionNotFound")
    sha = repository.commit(branch, header["summary"], files, parent=head).sha
    url = f"{hub.url}/{repository.url_path}/commit/{sha}"
    return Response({"success": True, "commitOid": sha, "commitUrl": url, "hookOutput": "", **answer})


def _apply(operation: str, value: dict[str, Any], files: dict[str, File], stored: dict[str, bytes]):
    path = value["path"].rstrip("/")
    if operation == "file":
        files[path] = File(base64.b64decode(value["content"]))
    elif operation == "lfsFile":
        if value["oid"] not in stored:
            raise HubError(400, f"LFS object {value['oid']} of {path} was not uploaded")
        files[path] = File(stored[value["oid"]], large=True)
    elif operation in ("deletedFile", "deletedFolder"):
        gone = [
            name for name in files if name == path or (operation == "deletedFolder" and name.startswith(f"{path}/"))
        ]
        if not gone:
            raise HubError(404, "A file with this name doesn't exist", "EntryNotFound")
        for name in gone:
            del files[name]
    else:
        raise HubError(400, f"unknown operation {operation}")


@repository_route("GET HEAD", rf"{_PAGE}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", access="files")
def resolve(hub: Hub, request: Request, repository: Repository, revision: str, path: str) -> Response:
    commit = repository.find(revision)
    headers = {"X-Repo-Commit": commit.sha}
    if path not in commit.files:
        raise HubError(404, "Entry not found", "EntryNotFound", headers)
    file = commit.files[path]
    if not file.large:
        return _ranged(request, file.data, {**headers, "ETag": f'"{file.etag}"'})
    linked = {"X-Linked-Etag": f'"{file.etag}"', "X-Linked-Size": str(len(file.data))}
    return Response(b"", 302, {**headers, **linked, "Location": f"{hub.storage_url}/{file.sha256}"})


def _ranged(request: Request, data: bytes, headers: dict[str, str]) -> Response:
    """The bytes, or those that the `Range` header asks for: `bytes=2-5`, `bytes=2-` or `bytes=-5`."""
    headers = {**headers, "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", ""))
    if not asked:
        return Response(data, 200, headers)
    first, last = asked.groups()
    start = int(first) if first else max(len(data) - int(last), 0)
    end = min(int(last) + 1, len(data)) if first and last else len(data)
    if start >= end:
        raise HubError(416, "Range not satisfiable", headers={"Content-Range": f"bytes */{len(data)}"})
    return Response(data[start:end], 206, {**headers, "Content-Range": f"bytes {start}-{end - 1}/{len(data)}"})
