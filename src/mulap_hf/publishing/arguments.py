"""Options of publishing: the name on the Hub, and the license."""

from dataclasses import dataclass

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from ..arguments import option
from ..errors import PublishError

UNKNOWN_LICENSE = "unknown"


@dataclass(frozen=True)
class Destination:
    """Where a model is published.

    repo_id: "org/name".
    private: whether the repository is private; it must not exist as a public one.
    license: the Hub's identifier for the license of the model.

    Raises:
        PublishError: the name is not valid for a repository.
    """

    repo_id: str
    private: bool = False
    license: str = UNKNOWN_LICENSE

    def __post_init__(self):
        try:
            validate_repo_id(self.repo_id)
        except HFValidationError as error:
            raise PublishError(f"{self.repo_id!r} is not a valid name on the Hub, org/name: {error}") from error
        if "/" not in self.repo_id:
            raise PublishError(f"{self.repo_id!r} lacks the owner: write it as org/{self.repo_id}")


@dataclass
class HubArguments:
    """Whether and how the finished model is published."""

    push_to_hub: str | None = option(
        None, "Publish the finished model under this name on the Hub.", metavar="ORG/NAME"
    )
    private: bool = option(False, "Publish to a private repository.")
    license: str = option(
        UNKNOWN_LICENSE, "License of the published model, by the Hub's identifier: cc-by-4.0, other, ..."
    )
