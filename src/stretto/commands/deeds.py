"""What a whole Bash text does, put together from what its simple commands do. Pure.

Hides how names of files are told apart from where they may lie: a text goes from folder to folder, and puts folders first on the PATH.
Promises: nothing that a part writes by name is left out, and a place that is not certain is said to be unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from stretto.model import Record

Effect = Literal["reads", "checks", "package", "other"]
PartEffect = Literal["reads", "checks", "package", "other", "setup"]


class Part(Record, frozen=True, kw_only=True):
    """One simple command of a text, and what it does."""

    name: str
    """Its first word, "" when there is none or it may not be shown."""
    effect: PartEffect
    """`setup` changes only the shell it stands in: fine before a check, not to be trusted before a reader."""
    reason: str
    """Why it is neither a check nor a reader; "" when it is. Holds no argument."""
    writes: tuple[str, ...] = ()
    """Files and folders that it makes or writes besides, as they are named."""
    piped: bool = False
    """Its standard input is the output of the one before."""
    goes_to: str = ""
    """The folder that it changes to; `?` for one that is not known."""
    first_on_path: tuple[str, ...] = ()
    """Folders that it puts before all others on the PATH of what follows, or of itself."""
    looked_up: tuple[str, ...] = ()
    """Programs that it runs by looking their names up on the PATH, and that nobody of ours stands before."""


class Written(Record, frozen=True, kw_only=True):
    """A file or folder that a text writes, when its parts do what they seem to."""

    path: str
    """As it is named; `$HOME/` may stand before it."""
    folders: tuple[str, ...]
    """In which it may lie, when it is relative: relative to where the text begins, or absolute; empty when that is not known."""
    by_check: bool
    """What comes into it is what a check of the text prints, and words beside it; or it is a folder for that."""
    folder: bool = False
    """Nothing but a folder is made of it: where one is already, nothing happens."""


class Deeds(Record, frozen=True, kw_only=True):
    """What a whole text does, as far as the text says; whoever sees the disk says whether that holds."""

    effect: Effect
    """As in `effect_of`, if what is written does no harm and the programs are not there."""
    written: tuple[Written, ...] = ()
    programs: tuple[Written, ...] = ()
    """They would be run in the place of a reader, if they were there."""


def gathered(parts: Sequence[Part]) -> Deeds:
    """Return what these commands do, one after the other."""
    effect = effect_of_all(parts)
    written: list[Written] = []
    programs: list[Written] = []
    places: tuple[str, ...] = ("",)
    first: tuple[str, ...] = ()
    by_check = False
    of_checks = {path for part in parts if part.effect == "checks" for path in part.writes}
    for part in parts:
        by_check = part.effect == "checks" or (by_check and part.piped)
        for path in part.writes:
            for_check = by_check or any(other == path or other.startswith(f"{path}/") for other in of_checks)
            written.append(Written(path=path, folders=places, by_check=for_check, folder=part.name == "mkdir"))
        if part.goes_to:
            places = places if part.goes_to != "?" else ()
            places = tuple(dict.fromkeys([*places, *(_joined(place, part.goes_to) for place in places)]))
            places = places if len(places) <= _PLACES else ()
        first = (*first, *part.first_on_path)
        programs += [Written(path=_joined(folder, name), folders=places, by_check=False) for folder in first for name in part.looked_up]
        if part.first_on_path and part.name != "export" and part.effect != "setup":
            first = first[: -len(part.first_on_path)]  # in front of that command only
    return Deeds(effect=effect, written=tuple(written), programs=tuple(programs))


def _joined(folder: str, name: str) -> str:
    return name if name.startswith(("/", "$HOME")) or not folder else f"{folder}/{name}"


_PLACES = 8
"""Folders in which a text may stand that goes from one to another; of more the last are not known."""


def effect_of_all(parts: Iterable[Part]) -> Effect:
    """Return what parts do together, as `effect_of` says it."""
    effects = {part.effect for part in parts}
    if "package" in effects:
        return "package"
    if "other" in effects or ("setup" in effects and "checks" not in effects):
        return "other"
    return "checks" if "checks" in effects else "reads"
