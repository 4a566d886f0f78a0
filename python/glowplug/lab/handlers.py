"""Which function to run: `handler.py`, `handler.py:function` or `package.module.function`, and the events it gets."""

from __future__ import annotations

import ast
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from glowplug.errors import OptionError

#: Bytes of an event that Lambda takes from a caller that waits for the answer.
LARGEST_EVENT = 6 * 2**20
#: Taken, in this order, when no function is named.
USUAL = ("handler", "lambda_handler")


@dataclass(frozen=True)
class Handler:
    """A function as Lambda would be told of it."""

    #: What the user wrote.
    name: str
    #: The folder that becomes `LAMBDA_TASK_ROOT`.
    root: Path
    #: `module.function`, the setting "Handler" of a Lambda function.
    setting: str

    @property
    def function(self) -> str:
        """The function's name: that of its folder, in the characters that Lambda takes."""
        return re.sub(r"[^A-Za-z0-9_-]+", "-", self.root.name).strip("-")[:64] or "function"


def find(text: str, root: str | Path | None = None) -> Handler:
    """Find a handler.

    Args:
        text: A file, with the function's name behind a colon if it is not `handler` or `lambda_handler`; or what
            Lambda's setting "Handler" would be.
        root: The folder of the package; by default that of the file, or the current one.

    Raises:
        OptionError: There is no such file or function.
    """
    file, _, function = text.partition(":")
    path = Path(file)
    if path.suffix == ".py":
        if not path.is_file():
            raise _refusal(text, "no such file", "name the Python file that has the handler")
        folder = Path(root).resolve() if root is not None else path.resolve().parent
        if not path.resolve().is_relative_to(folder):
            raise _refusal(text, f"is not inside of the root {folder}", "name a root that holds the file")
        module = ".".join(path.resolve().relative_to(folder).with_suffix("").parts)
        return Handler(text, folder, f"{module}.{function or _only(text, path)}")
    folder = Path(root or os.curdir).resolve()
    module, _, function = text.rpartition(".")
    if ":" in text or not module:
        raise _refusal(text, "neither a Python file nor module.function", "write handler.py, or handler.py:function")
    parts = module.replace("/", ".").split(".")
    if (
        not folder.joinpath(*parts).with_suffix(".py").is_file()
        and not folder.joinpath(*parts, "__init__.py").is_file()
    ):
        raise _refusal(text, f"no module {module} in {folder}", "name the folder of the package with --root")
    return Handler(text, folder, text)


def read_events(files: list[str]) -> list[bytes]:
    """The events, one a file, as they are; an empty object if there is none."""
    events = []
    for file in files:
        try:
            content = Path(file).read_bytes()
            json.loads(content)
        except OSError as error:
            problem = error.strerror or str(error)
            raise _refusal(file, problem, "name a file that can be read", "event") from None
        except ValueError as error:
            fix = "write the event as the trigger sends it, as one JSON value"
            raise _refusal(file, f"not JSON: {error}", fix, "event") from None
        if len(content) > LARGEST_EVENT:
            problem = f"has {len(content)} bytes, and Lambda takes {LARGEST_EVENT}"
            raise _refusal(file, problem, "send a part of it, or the address of an object in S3", "event")
        events.append(content)
    return events or [b"{}"]


def _only(text: str, path: Path) -> str:
    """The usual name that the file gives to anything; found without running the file."""
    try:
        body = ast.parse(path.read_bytes(), str(path)).body
    except (SyntaxError, ValueError):
        # The runtime client says it better.
        return USUAL[0]
    names: dict[str, None] = {}
    # `from glowplug.serve.aws_lambda import handler` is what makes the function, not the function.
    imported_names: dict[str, None] = {}
    for statement in body:
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names[name] = None
            case ast.Assign(targets=targets):
                names |= {target.id: None for target in targets if isinstance(target, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name)):
                names[name] = None
            case ast.ImportFrom(names=imported):
                imported_names |= {alias.asname or alias.name: None for alias in imported}
            case _:
                pass
    for given in (names, imported_names):
        for name in USUAL:
            if name in given:
                return name
    functions = [statement.name for statement in body if isinstance(statement, ast.FunctionDef)]
    example = functions[-1] if functions else "function"
    problem = (
        "has neither " + " nor ".join(USUAL) + (f"; its functions are {', '.join(functions)}" if functions else "")
    )
    raise _refusal(text, problem, f"name the function: {path}:{example}")


def _refusal(text: str, problem: str, fix: str, what: str = "handler") -> OptionError:
    return OptionError.about(f"{what} {text}", problem, fix)
