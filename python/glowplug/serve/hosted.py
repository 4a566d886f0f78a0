"""Several models behind one service: found by name and version, loaded together."""

from __future__ import annotations

import os
from threading import Lock

from glowplug.errors import OptionError, OptionTypeError
from glowplug.model import Model
from glowplug.serve.http import Problem
from glowplug.serve.scoring import Scorer
from glowplug.serve.warm import warm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any, TypeAlias

    Source: TypeAlias = Model | str | os.PathLike[str]
    Sources: TypeAlias = Source | Mapping[str, Source | Mapping[str, Source]]

#: The version of a model of which there is one.
ONLY_VERSION = "1"


class Hosted:
    """One version of a model, loaded when it is first needed.

    Args:
        name: What callers call it.
        version: Which of those of that name.
        source: A model, or the path of one.
        options: Of its `Scorer`.
    """

    def __init__(self, name: str, version: str, source: Source, options: dict[str, Any]) -> None:
        self.name = name
        self.version = version
        self._source = source
        self._options = options
        self._scorer: Scorer | None = None
        self._lock = Lock()

    @property
    def is_ready(self) -> bool:
        """Whether it is loaded."""
        return self._scorer is not None and not self._scorer.model.closed

    @property
    def scorer(self) -> Scorer:
        """What scores with it.

        Raises:
            GlowplugError: As `load` has it.
        """
        if self._scorer is None:
            with self._lock:
                if self._scorer is None:
                    scorer = Scorer(self._source, **self._options)
                    warm(scorer.model)
                    self._scorer = scorer
        return self._scorer


class Models:
    """The models of a service.

    Args:
        models: A model, or the path of one, whose file gives it its name; or a mapping from names to such, or from names to
            mappings from versions to such. Callers that name no version get the highest.
        options: Of each `Scorer`.
    """

    def __init__(self, models: Sources, **options: Any) -> None:
        named = models if hasattr(models, "items") else {_stem(models): models}
        #: The version of those who name none comes first.
        self._all: dict[str, dict[str, Hosted]] = {}
        for name, versions in named.items():
            _check_name(name, "name")
            by_version = versions if hasattr(versions, "items") else {ONLY_VERSION: versions}
            found: dict[str, Hosted] = {}
            for version, source in by_version.items():
                _check_name(str(version), "version")
                if not isinstance(source, (Model, str, os.PathLike)):
                    problem = f"got {type(source).__name__} for {name!r}, expected a model or the path of one"
                    raise OptionTypeError.about(
                        "option `models`", problem, 'pass for example `{"fraud": "fraud.onnx"}`'
                    )
                found[str(version)] = Hosted(name, str(version), source, options)
            if not found:
                raise _empty(f"got no version of {name!r}")
            self._all[name] = {version: found[version] for version in sorted(found, key=_order, reverse=True)}
        if not self._all:
            raise _empty("got an empty mapping")

    def __iter__(self) -> Iterator[Hosted]:
        return (hosted for versions in self._all.values() for hosted in versions.values())

    def load(self) -> None:
        """Load all of them, and let each run once.

        Raises:
            GlowplugError: As `load` has it, at the first that fails.
        """
        for hosted in self:
            hosted.scorer  # noqa: B018 - it loads when it is asked for

    @property
    def is_ready(self) -> bool:
        """Whether all are loaded."""
        return all(hosted.is_ready for hosted in self)

    def versions(self, name: str) -> list[str]:
        """The versions of a model, the one that callers get who name none first.

        Raises:
            Problem: 404 if there is no such model.
        """
        versions = self._all.get(name)
        if versions is None:
            names = ", ".join(self._all) if len(self._all) <= 10 else f"{len(self._all)} others"  # noqa: PLR2004
            raise Problem(404, f"got the model {name[:100]!r}, expected one of {names}")
        return list(versions)

    def find(self, name: str | None, version: str | None = None) -> Hosted:
        """A model by name and version, each of which may be left out where there is no choice.

        Raises:
            Problem: 404 if there is no such model.
        """
        if name is None:
            if len(self._all) > 1:
                raise Problem(404, f"got no name of a model, expected one of {', '.join(self._all)}")
            (name,) = self._all
        known = self.versions(name)
        wanted = version or known[0]
        if wanted not in known:
            raise Problem(404, f"got version {wanted[:40]!r} of {name!r}, expected one of {', '.join(known)}")
        return self._all[name][wanted]


def _stem(source: object) -> str:
    if isinstance(source, Model):
        name = source._handle.name  # noqa: SLF001 - of one package
        source = "model" if name == "model bytes" else name
    if not isinstance(source, (str, os.PathLike)):
        problem = f"got {type(source).__name__}, expected a model, the path of one, or a mapping from names to such"
        raise OptionTypeError.about("option `models`", problem, 'pass for example "fraud.onnx"')
    return os.path.splitext(os.path.basename(os.fsdecode(source)))[0] or "model"  # noqa: PTH119, PTH122 - a cold start


def _check_name(name: object, what: str) -> None:
    if not isinstance(name, str):
        problem = f"got {name!r} as a {what}, expected text"
        raise OptionTypeError.about("option `models`", problem, 'pass for example `{"fraud": "fraud.onnx"}`')
    if not name or "/" in name:
        problem = f"got {name!r} as a {what}, which cannot be a part of a path"
        raise OptionError.about("option `models`", problem, "give it letters, digits, dots and dashes")


def _empty(problem: str) -> OptionError:
    return OptionError.about("option `models`", f"{problem}, expected a model", 'pass for example "fraud.onnx"')


def _order(version: str) -> tuple[int, int, str]:
    """Numbers by their value, above text."""
    is_number = version.isascii() and version.isdigit()
    return is_number, int(version) if is_number else 0, version
