"""The upload, and what can be known before it to fail."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, ModelCard, ModelCardData
from huggingface_hub.errors import HFValidationError, HTTPError, LocalTokenNotFoundError, RepositoryNotFoundError
from huggingface_hub.utils import validate_repo_id

from ..errors import PublishError
from .assemble import assemble
from .card import UNKNOWN_LICENSE
from .check import check_folder

# What publications write: deleted on the Hub where the new one does not have it. Files that others added stay.
_OURS = ["*.py", "*.safetensors", "*.safetensors.index.json", "samples/*", "training_report/*", "transfer_report/*"]
_LOG_IN = (
    "log in with `hf auth login`, or set HF_TOKEN to a token that may write (https://huggingface.co/settings/tokens)"
)


@dataclass(frozen=True)
class Destination:
    """Where a model goes.

    repo_id: "org/name".
    private: whether only its owners may see the repository, which must not be public already.
    license: of the model, by the Hub's name for it.

    Raises:
        PublishError: no repository can have this name.
    """

    repo_id: str
    private: bool = False
    license: str = UNKNOWN_LICENSE

    def __post_init__(self):
        try:
            validate_repo_id(self.repo_id)
        except HFValidationError as error:
            raise PublishError(f"{self.repo_id!r} is no name for the Hub, org/name: {error}") from error
        if "/" not in self.repo_id:
            raise PublishError(f"{self.repo_id!r} is no name for the Hub: say whose it is, org/{self.repo_id}")


def check_destination(destination: Destination, repo_type: str = "model"):
    """Asks the Hub whether the upload can be done; to be called before long work.

    Args:
        destination: as the user named it.
        repo_type: "model" or "space".

    Raises:
        PublishError: nobody is logged in, the token may only read, the namespace is another's, the repository is
            public and is to be private, or the license is none that the Hub knows.
    """
    api, repo_id = HfApi(), destination.repo_id
    try:
        user = api.whoami()
        if user.get("auth", {}).get("accessToken", {}).get("role") == "read":
            raise PublishError(f"the token of {user['name']} may only read: {_LOG_IN}")
        owner = repo_id.partition("/")[0]
        mine = [user["name"], *(org["name"] for org in user.get("orgs", []))]
        if owner not in mine:
            raise PublishError(f"{repo_id}: {user['name']} is no member of {owner}; there are {', '.join(mine)}")
        if destination.private and _is_public(api, repo_id, repo_type):
            raise PublishError(
                f"--private: {repo_id} is public already; make it private in its settings, or choose another name"
            )
        _check_license(destination.license)
    except LocalTokenNotFoundError as error:
        raise PublishError(f"nobody is logged in to the Hub: {_LOG_IN}") from error
    except HTTPError as error:
        raise PublishError(explain(error)) from error


def publish(
    model_cards: Path, source: Path, target: Path, destination: Destination, samples: Sequence[Path] = ()
) -> str:
    """Assembles, checks and uploads a model.

    Args:
        model_cards: see `assemble`.
        source: the model's folder.
        target: where it is assembled; is made.
        destination: that `check_destination` has found nothing against.
        samples: see `assemble`.

    Returns:
        The URL of the commit.

    Raises:
        PublishError: see `assemble` and `check_folder`; or the Hub refuses.
    """
    repo_id = destination.repo_id
    assemble(model_cards, source, target, repo_id, destination.license, samples)
    check_folder(target, repo_id)
    api = HfApi()
    try:
        ModelCard.load(target / "README.md").validate()  # asks the Hub, before there is anything on it
        api.create_repo(repo_id, private=destination.private, exist_ok=True)
        commit = api.upload_folder(
            folder_path=target, repo_id=repo_id, commit_message="Publish the model", delete_patterns=_OURS
        )
    except (HTTPError, ValueError) as error:
        raise PublishError(explain(error)) from error
    return commit.commit_url


def _check_license(license: str):
    """Asks by a card that says nothing else: the whole one is made from the finished model."""
    try:
        ModelCard(f"---\n{ModelCardData(license=license).to_yaml()}\n---\n").validate()
    except ValueError as error:
        raise PublishError(f"--license {license}: {explain(error)}") from error


def _is_public(api: HfApi, repo_id: str, repo_type: str) -> bool:
    try:
        return not api.repo_info(repo_id, repo_type=repo_type).private
    except RepositoryNotFoundError:
        return False


def explain(error: Exception) -> str:
    """What a refusal of the Hub says, and what to do about it."""
    response = getattr(error, "response", None)
    if isinstance(error, HTTPError) and response is None:
        return f"the Hub cannot be reached: {error}"
    status = getattr(response, "status_code", None)
    mend = {401: _LOG_IN, 403: "the token may not write there: take one that may"}.get(status)
    return f"the Hub refuses: {str(error).strip()}" + (f"; {mend}" if mend else "")
