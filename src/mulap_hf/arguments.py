"""Command lines made of dataclasses: every field is a flag, and a key of a recipe, a JSON file of options.

It does what transformers' `HfArgumentParser` does, for the same dataclasses, without importing transformers: a mistake
in the command is reported at once.
"""

import argparse
import difflib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from .errors import DataError


def option(default: Any, help: str, replaces: str | None = None, **metadata: Any) -> Any:
    """A field of a dataclass that is a command-line flag.

    Args:
        default: also of the field.
        help: a sentence, without the default.
        replaces: an option of recipes that does not count where this flag is given.
        metadata: more arguments of `add_argument`: choices, metavar.
    """
    metadata |= {"help": help, "replaces": replaces}
    if isinstance(default, list):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


def check_numbers(
    args: Any,
    at_least_one: Sequence[str] = (),
    positive: Sequence[str] = (),
    not_negative: Sequence[str] = (),
    shares: Sequence[str] = (),
):
    """Checks the ranges of numeric options.

    Args:
        args: dataclass of options; None is always accepted, and each number of a list is checked.
        at_least_one: names of fields with numbers from 1 on.
        positive: names of fields with numbers above 0.
        not_negative: names of fields with numbers from 0 on.
        shares: names of fields with numbers from 0 to 1.

    Raises:
        DataError: a number is out of its range.
    """
    for names, is_fine, wanted in (
        (at_least_one, lambda number: number >= 1, "at least 1"),
        (positive, lambda number: number > 0, "more than 0"),
        (not_negative, lambda number: number >= 0, "not negative"),
        (shares, lambda number: 0 <= number <= 1, "between 0 and 1"),
    ):
        for name in names:
            value = getattr(args, name)
            for number in value if isinstance(value, list) else [value]:
                if number is not None and not is_fine(number):
                    raise DataError(f"--{name} {number}: {wanted}")


@dataclass(frozen=True)
class Recipes:
    """A folder of recipes, and which of them is used without `--recipe`."""

    folder: Path
    default: str

    @property
    def names(self) -> list[str]:
        return sorted(path.stem for path in self.folder.glob("*.json"))

    def find(self, name: str) -> Path:
        """The file of a recipe: one of the folder by its name, or any other by its path.

        Raises:
            DataError: the file does not exist.
        """
        path = self.folder / f"{name}.json" if "/" not in name and not name.endswith(".json") else Path(name)
        if not path.is_file():
            raise DataError(f"--recipe {name}: no such file; there are {', '.join(self.names)}")
        return path


def parse_arguments(
    kinds: Sequence[type], arguments: Sequence[str] | None, description: str | None, recipes: Recipes | None = None
) -> tuple:
    """Flags over a recipe over the defaults.

    Args:
        kinds: dataclasses of options; one object of each is returned.
        arguments: of the command line; None: those of this process.
        description: of the script, for `--help`.
        recipes: from which `--recipe` chooses; None: the option does not exist.

    Raises:
        DataError: the recipe cannot be read or has an option that does not exist, or a number is out of its range.
    """
    words = [_normalized(word) for word in (sys.argv[1:] if arguments is None else arguments)]
    defaults: dict[str, Any] = {}
    if recipes is not None:
        path = recipes.find(peek(words, "recipe", recipes.default))
        options = read_recipe(path, kinds)
        for kind_field in _fields(kinds):
            if any(word.partition("=")[0] == f"--{kind_field.name}" for word in words):
                options.pop(kind_field.metadata["replaces"], None)
        # Through a parser, so that a wrong value in a recipe gets the message that a wrong flag gets.
        flags = [word for name, value in options.items() for word in (f"--{name}", *_words(value))]
        parser = _make_parser(kinds, None, {}, None)
        parser.prog = f"{parser.prog}: {path}"
        defaults = vars(parser.parse_args(flags))
    values = vars(_make_parser(kinds, description, defaults, recipes).parse_args(words))
    return tuple(kind(**{field.name: values[field.name] for field in fields(kind)}) for kind in kinds)


def peek(arguments: Sequence[str], name: str, default: Any = None, **how: Any) -> Any:
    """The value of one option, before all of them are parsed.

    Args:
        arguments: of the command line.
        name: of the option, without its dashes.
        default: its value if it is not given.
        how: more arguments of `add_argument`.
    """
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    finder.add_argument(f"--{name}", default=default, **how)
    return getattr(finder.parse_known_args([_normalized(word) for word in arguments])[0], name)


def read_recipe(path: Path, kinds: Sequence[type]) -> dict[str, Any]:
    """The options of a recipe.

    Raises:
        DataError: it is not a JSON object, or has an option that none of the dataclasses has.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a recipe, a JSON object of options: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: a recipe is a JSON object of options, not {type(content).__name__}")
    check_names(content, [kind_field.name for kind_field in _fields(kinds)], path)
    return {name: value for name, value in content.items() if value is not None}


def check_names(content: Mapping[str, Any], known: Sequence[str], where: str | Path):
    """Raises:
    DataError: a key is not one of the known ones; the message names the one that it resembles.
    """
    for name in content:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            raise DataError(f"{where}: {name!r} does not exist" + (f"; did you mean {close[0]!r}?" if close else ""))


def boolean(text: str) -> bool:
    """A type of arguments: true or false, yes or no, 1 or 0."""
    if text.lower() in ("true", "yes", "1"):
        return True
    if text.lower() in ("false", "no", "0"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")


def at_least(least: int) -> Callable[[str], int]:
    """A type of arguments: integers from `least` on."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not an integer of at least {least}")
        return int(text)

    return number


def _make_parser(
    kinds: Sequence[type], description: str | None, defaults: Mapping[str, Any], recipes: Recipes | None
) -> argparse.ArgumentParser:
    """A group of flags per dataclass, titled by its docstring."""
    parser = argparse.ArgumentParser(
        description=description,
        usage="%(prog)s [options]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    if recipes is not None:
        parser.add_argument(
            "--recipe",
            metavar="NAME",
            default=recipes.default,
            help=f"options from a JSON file: its path, or one of {', '.join(recipes.names)}; flags override it. "
            "Default: %(default)s.",
        )
    for kind in kinds:
        hints = get_type_hints(kind)
        for owner in filter(is_dataclass, kind.__mro__):  # what a dataclass inherits has a group below its own
            group = parser.add_argument_group((owner.__doc__ or "").strip().rstrip("."))
            inherited = {one.name for base in filter(is_dataclass, owner.__bases__) for one in fields(base)}
            for one in fields(owner):
                if one.name not in inherited:
                    _add_flag(group, one, hints[one.name], defaults)
    return parser


def _add_flag(group, one, hint: Any, defaults: Mapping[str, Any]):
    how = {name: value for name, value in one.metadata.items() if name not in ("help", "replaces")}
    kind = next((inner for inner in get_args(hint) if inner is not type(None)), hint)
    default = defaults.get(one.name, one.default_factory() if get_origin(hint) is list else one.default)
    shown = "" if default in (None, False, "", []) else f" Default: {_shown(default)}."
    if "choices" not in how:
        how.setdefault("metavar", _METAVARS.get(kind, "TEXT"))
    if kind is bool:
        how |= {"type": boolean, "nargs": "?", "const": True}
        if default:
            group.add_argument(f"--no_{one.name}", dest=one.name, action="store_false", help=argparse.SUPPRESS)
            shown = f" Default: true; --no_{one.name} turns it off."
    else:
        how |= {"type": kind, "nargs": "+" if get_origin(hint) is list else None}
    group.add_argument(f"--{one.name}", default=default, help=one.metadata["help"] + shown.replace("%", "%%"), **how)


_METAVARS = {int: "INT", float: "FLOAT", bool: "BOOL"}


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _fields(kinds: Sequence[type]) -> list:
    return [one for kind in kinds for one in fields(kind)]


def _normalized(word: str) -> str:
    """`--max_steps` for `--max-steps`."""
    if not word.startswith("--"):
        return word
    name, equals, value = word[2:].partition("=")
    return f"--{name.replace('-', '_')}{equals}{value}"


def _words(value: Any) -> list[str]:
    """A value as on the command line."""
    if isinstance(value, list):
        return [str(item) for item in value]
    return [json.dumps(value) if isinstance(value, dict) else str(value)]
