"""A converted model: its content, and how it gets into a file."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glowplug.model import Model, load

if TYPE_CHECKING:
    from os import PathLike


@dataclass(frozen=True, repr=False)
class Converted:
    """What `glowplug.load` takes, as bytes or from a file."""

    #: The file's content: glowplug's own format, or that of the library that trained the model.
    content: bytes
    #: Class of the estimator.
    kind: str

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the file and put it in its place at once: who loads it meanwhile gets the old one or the new one.

        Args:
            path: Where to. Any name will do: files are known by their content.

        Returns:
            The path.

        Raises:
            OSError: It cannot be written there.
        """
        target = Path(path)
        handle, draft = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(self.content)
            # Temporary files are for their owner alone; models are for whoever may read the folder.
            mask = os.umask(0)
            os.umask(mask)
            Path(draft).chmod(0o666 & ~mask)
            Path(draft).replace(target)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
        return target

    def load(self, **options: Any) -> Model:
        """Load it here, with the options of `glowplug.load`."""
        return load(self.content, **options)

    def __bytes__(self) -> bytes:
        return self.content

    def __repr__(self) -> str:
        return f"<{self.kind} for glowplug, {len(self.content):,} bytes>"
