"""Options of the training scripts that publish the model when training is done."""

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
    """Whether and how the finished model is published."""

    push_to_hub: str | None = option(None, "Publish the finished model under this name on the Hub: org/name.")
    private: bool = option(False, "Publish to a private repository.")
    license: str = option(
        UNKNOWN_LICENSE, "License of the published model, by the Hub's identifier: cc-by-4.0, other, ..."
    )

    def destination(self) -> Destination | None:
        """Where to publish; None without `push_to_hub`. Call it before training, because it asks the Hub.

        Raises:
            PublishError: the Hub would refuse the upload.
        """
        if self.push_to_hub is None:
            return None
        found = Destination(self.push_to_hub, self.private, self.license)
        check_destination(found)
        return found


def publish_finished(model_cards: Path, folder: Path, destination: Destination | None):
    """Publishes a finished run, if there is a destination.

    Raises:
        PublishError: publishing failed; the message says how to repeat it. The folder is complete.
    """
    if destination is None:
        return
    with TemporaryDirectory(prefix="mulap-publish-") as temporary:
        try:
            url = publish(model_cards, folder, Path(temporary) / "model", destination)
        except (PublishError, OSError) as error:
            private = " --private" if destination.private else ""
            raise PublishError(
                f"the model was saved in {folder}, but not published: {error}\nRepeat with: python "
                f"training/publish.py {quote(str(folder))} --repo_id {destination.repo_id} "
                f"--license {destination.license}{private}"
            ) from error
    print(f"Published: {url}")
