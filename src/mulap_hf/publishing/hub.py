"""The upload to the Hub, and a check beforehand of what would make it fail."""

from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory

from huggingface_hub import EvalResult, HfApi, ModelCard, ModelCardData
from huggingface_hub.errors import EntryNotFoundError, HTTPError, LocalTokenNotFoundError, RepositoryNotFoundError

from ..errors import PublishError
from .arguments import Destination, HubArguments
from .assemble import assemble
from .check import check_folder
from .mteb_scores import add_scores

# Files that publishing writes: deleted on the Hub if the new version lacks them. Files that users added stay.
_OURS = ["*.py", "*.safetensors", "*.safetensors.index.json", "samples/*", "training_report/*", "transfer_report/*"]
_LOG_IN = (
    "log in with `hf auth login`, or set HF_TOKEN to a token that may write (https://huggingface.co/settings/tokens)"
)


def find_destination(args: HubArguments) -> Destination | None:
    """Where a training script publishes its model; None without `push_to_hub`. Call it before training.

    Raises:
        PublishError: see `Destination` and `check_destination`.
    """
    if args.push_to_hub is None:
        return None
    destination = Destination(args.push_to_hub, args.private, args.license)
    check_destination(destination)
    return destination


def check_destination(destination: Destination, repo_type: str = "model"):
    """Asks the Hub whether the upload would be accepted. Call it before long work.

    Args:
        destination: as the user named it.
        repo_type: "model" or "space".

    Raises:
        PublishError: nobody is logged in, the token has no write permission, the user is not a member of the
            namespace, the repository is public but should be private, or the Hub does not know the license.
    """
    api, repo_id = HfApi(), destination.repo_id
    try:
        user = api.whoami()
        if user.get("auth", {}).get("accessToken", {}).get("role") == "read":
            raise PublishError(f"the token of {user['name']} has no write permission: {_LOG_IN}")
        owner = repo_id.partition("/")[0]
        mine = [user["name"], *(org["name"] for org in user.get("orgs", []))]
        if owner not in mine:
            raise PublishError(
                f"{repo_id}: {user['name']} is not a member of {owner}; choose one of {', '.join(mine)}"
            )
        if destination.private and _is_public(api, repo_id, repo_type):
            raise PublishError(
                f"--private: {repo_id} exists and is public: make it private in its settings, or choose another name"
            )
        _check_license(destination.license)
    except LocalTokenNotFoundError as error:
        raise PublishError(f"not logged in to the Hub: {_LOG_IN}") from error
    except HTTPError as error:
        raise PublishError(explain(error)) from error


def publish(source: Path, target: Path, destination: Destination, samples: Sequence[Path] = ()) -> str:
    """Assembles, checks and uploads a model.

    Args:
        source: folder of the model.
        target: folder to create, in which it is assembled.
        destination: a destination that `check_destination` has accepted.
        samples: see `assemble`.

    Returns:
        The URL of the commit.

    Raises:
        PublishError: see `assemble` and `check_folder`; or the Hub refuses the upload.
    """
    repo_id = destination.repo_id
    assemble(source, target, repo_id, destination.license, samples)
    check_folder(target, repo_id)
    api = HfApi()
    try:
        ModelCard.load(target / "README.md").validate()  # asks the Hub, before the repository is created
        api.create_repo(repo_id, private=destination.private, exist_ok=True)
        commit = api.upload_folder(
            folder_path=target, repo_id=repo_id, commit_message="Publish the model", delete_patterns=_OURS
        )
    except (HTTPError, ValueError) as error:
        raise PublishError(explain(error)) from error
    return commit.commit_url


def push_scores(repo_id: str, scores: Sequence[EvalResult]) -> str:
    """Put scores of MTEB into the card of a model on the Hub, which gets one if it has none.

    Returns:
        The URL of the commit.

    Raises:
        PublishError: The Hub refuses.
    """
    name = repo_id.rpartition("/")[2]
    try:
        try:
            card = ModelCard.load(repo_id)
        except EntryNotFoundError:
            card = ModelCard(f"---\nlibrary_name: transformers\n---\n\n# {name}\n")
        add_scores(card, name, scores)
        return str(card.push_to_hub(repo_id, commit_message="Add scores of MTEB"))
    except (HTTPError, ValueError) as error:
        raise PublishError(explain(error)) from error


def _check_license(license: str):
    """Asks the Hub with a card that has nothing but the license: the real one is rendered from the finished model."""
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
    """The message of a refusal, and what to do about it."""
    response = getattr(error, "response", None)
    if isinstance(error, HTTPError) and response is None:
        return f"the Hub cannot be reached: {error}"
    status = getattr(response, "status_code", None)
    remedy = {401: _LOG_IN, 403: "the token has no write permission there: use one that has"}.get(status)
    return f"the Hub refuses: {str(error).strip()}" + (f"; {remedy}" if remedy else "")


def publish_finished(folder: Path, destination: Destination | None):
    """Publishes a finished run, if there is a destination.

    Raises:
        PublishError: publishing failed; the message says how to repeat it. The folder is complete.
    """
    if destination is None:
        return
    with TemporaryDirectory(prefix="mulap-publish-") as temporary:
        try:
            url = publish(folder, Path(temporary) / "model", destination)
        except (PublishError, OSError) as error:
            private = " --private" if destination.private else ""
            raise PublishError(
                f"the model was saved in {folder}, but not published: {error}\nRepeat with: python "
                f"training/publish.py {quote(str(folder))} --repo_id {destination.repo_id} "
                f"--license {destination.license}{private}"
            ) from error
    print(f"Published: {url}")
