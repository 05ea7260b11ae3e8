"""How training scripts are told to publish what they have trained."""

from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory

from ..errors import PublishError
from ..pretraining.arguments import option
from .card import UNKNOWN_LICENSE
from .hub import Destination, check_destination, publish


@dataclass
class HubArguments:
    """What becomes of the model when it is done."""

    push_to_hub: str | None = option(None, "Publish the finished model under this name: org/name.")
    private: bool = option(False, "Only its owners may see what is published.")
    license: str = option(UNKNOWN_LICENSE, "Of the published model, by the Hub's name for it: cc-by-4.0, other, ...")

    def destination(self) -> Destination | None:
        """Where to publish, if anywhere; to be called before the work.

        Raises:
            PublishError: it would be refused.
        """
        if self.push_to_hub is None:
            return None
        found = Destination(self.push_to_hub, self.private, self.license)
        check_destination(found)
        return found


def publish_finished(model_cards: Path, folder: Path, destination: Destination | None):
    """Publishes a finished run, if it is to be.

    Raises:
        PublishError: it failed; the message says how to repeat it. The folder is whole.
    """
    if destination is None:
        return
    with TemporaryDirectory(prefix="mulap-publish-") as temporary:
        try:
            url = publish(model_cards, folder, Path(temporary) / "model", destination)
        except (PublishError, OSError) as error:
            private = " --private" if destination.private else ""
            raise PublishError(
                f"the model is in {folder}, but was not published: {error}\nRepeat with: python training/publish.py "
                f"{quote(str(folder))} --repo_id {destination.repo_id} --license {destination.license}{private}"
            ) from error
    print(f"Published: {url}")
