"""The errors that a user can correct: their message says what was given, what is expected, and what to do.

Scripts print a `MulapError` without a traceback. Any other exception is a bug or a failing machine: it keeps its own.
"""


class MulapError(Exception):
    """Base class of all errors that this package raises on purpose."""


class AudioError(MulapError, ValueError):
    """Audio that cannot be read, or cannot be used; the message names the file or array.

    path: Of the file, where files are embedded.
    """

    path: str | None = None


class AudioWarning(UserWarning):
    """Audio that can be used, but of which something is missing or was left out; the message names the file."""


class DataError(MulapError, ValueError):
    """A dataset, a task or an option that cannot be used; the message names the file or the option."""


class ModelError(MulapError, ValueError):
    """A model, checkpoint or tokenizer that cannot be loaded, converted or exported; the message names it."""


class RunError(MulapError, RuntimeError):
    """A training run that cannot start, resume or continue; the message names its folder, option or step."""


class PublishError(MulapError, ValueError):
    """A model that cannot be published as it is, or that the Hub refuses."""


class MissingPackageError(MulapError, ImportError):
    """An optional package that is not installed; the message says how to install it."""


class Interrupted(MulapError):
    """A training run that stopped after saving a checkpoint, because a signal asked for it."""
