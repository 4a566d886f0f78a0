"""Rows as CSV, and predictions in the same form."""

from __future__ import annotations

import csv
from itertools import chain

from glowplug.errors import InputError, InputTypeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from glowplug.model import Model


#: How often, on average, what was read may be read again.
AGAIN = 8
#: Characters of a row. A reader takes up to forty bytes for each, and a row goes on as long as a quote is open.
MOST_ROW = 2 * 2**20


def csv_rows(lines: Iterable[str], model: Model, *, keep_going: bool = False) -> tuple[Iterator[Any], bool]:
    """Read rows of CSV as plain Python.

    The first line is a header if one of its cells is the name of a feature or input, or if the model takes only numbers and
    none of its cells is one. Columns may then come in any order. An empty cell is a missing value.

    Args:
        lines: The lines, with their ends.
        model: Whose names and dtypes cells have.
        keep_going: Give an `InputError` in the place of a row that does not fit the model, and go on.

    Returns:
        The rows, read as they are asked for, and whether there is a header.

    Raises:
        InputError: A line does not fit the model, or is no CSV.
    """
    again = _Lines(lines)
    reader = csv.reader(again, strict=True)
    kinds, names = _columns(model)
    try:
        first = next(reader)
    except StopIteration:
        raise InputError.about("CSV body", "is empty", "send a line for each row") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise _no_csv(again.first, error) from None
    has_header = _is_header(first, kinds, names)
    converters = [_converter(kinds[names.index(name)]) if name in names else str for name in first]
    if not has_header:
        converters = [_converter(kind) for kind in kinds]
    rows = iter(reader) if has_header else chain([first], reader)
    header = first if has_header else None
    return _rows(again, rows, header, converters, keep_going=keep_going), has_header


class _Lines:
    """Lines as a reader of CSV takes them, for a row of limited length; those that make no row can be given again."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        #: The next one last.
        self._again: list[str] = []
        self._row: list[str] = []
        self._held = 0
        self._number = 0
        #: Characters that may be given again, or it might never end.
        self._room = AGAIN * MOST_ROW

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._again:
            line = self._again.pop()
        else:
            line = next(self._lines)
            self._room += AGAIN * len(line)
        self._number += 1
        self._row.append(line)
        self._held += len(line)
        if self._held > MOST_ROW:
            problem = f"it begins a row of more than {MOST_ROW} characters"
            raise csv.Error(problem)
        return line

    @property
    def first(self) -> int:
        """The number of the first line of the row, from 1."""
        return self._number - len(self._row) + 1

    def begin(self) -> None:
        """A row is whole, or given up."""
        self._row.clear()
        self._held = 0

    def again(self) -> bool:
        """Give the lines of the row again, but for the first: it may have a quote too many, and they be rows.

        Returns:
            Whether that is possible. Without it rows would be lost.
        """
        self._room -= self._held
        if self._room < 0:
            return False
        self._number -= len(self._row) - 1
        self._again.extend(self._row[:0:-1])
        return True


def _columns(model: Model) -> tuple[list[str], list[str]]:
    """The dtype and the name of each column; a matrix of any width has one dtype and no names."""
    inputs = [spec for spec in model.inputs if spec.required] or list(model.inputs)
    if len(inputs) > 1:
        return [spec.dtype for spec in inputs], [spec.name for spec in inputs]
    (spec,) = inputs
    names = model.features or []
    width = spec.shape[1] if len(spec.shape) > 1 and isinstance(spec.shape[1], int) else len(names)
    return [spec.dtype] * max(width, 1), names or [spec.name]


def _is_header(first: list[str], kinds: list[str], names: list[str]) -> bool:
    if any(cell in names for cell in first):
        return True
    return "string" not in kinds and not any(_is_number(cell) for cell in first) and any(first)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _converter(dtype: str) -> Callable[[str], Any]:
    if dtype == "string":
        return str
    return _float if dtype.startswith("float") else _whole


def _float(cell: str) -> float | None:
    return float(cell) if cell else None


def _whole(cell: str) -> int | bool | None:
    words = {"true": True, "false": False}
    if cell.lower() in words:
        return words[cell.lower()]
    try:
        return int(cell) if cell else None
    except ValueError:
        return float(cell)  # type: ignore[return-value] # 1.0 is whole; the core looks at that


def _rows(
    lines: _Lines,
    rows: Iterator[list[str]],
    header: list[str] | None,
    converters: list[Callable[[str], Any]],
    *,
    keep_going: bool,
) -> Iterator[list[Any] | dict[str, Any] | InputError]:
    row = 0
    while True:
        try:
            lines.begin()
            cells = next(rows)
        except StopIteration:
            return
        except (csv.Error, UnicodeDecodeError) as error:
            mistake = placed(_no_csv(lines.first, error), row)
            # The reader begins anew with the next line, but lines that end in an error do not go on.
            if not keep_going or isinstance(error, UnicodeDecodeError) or not lines.again():
                raise mistake from None
            yield mistake
        else:
            if not cells:
                continue
            # Only what is wrong with the cells: lines that cannot be had are no mistake of this row.
            try:
                made: Any = _row(cells, header, converters, row)
            except InputError as error:
                if not keep_going:
                    raise
                made = error
            yield made
        row += 1


def _row(
    cells: list[str], header: list[str] | None, converters: list[Callable[[str], Any]], row: int
) -> list[Any] | dict[str, Any]:
    if header is None:
        return _converted(cells, converters, row)
    if len(cells) != len(header):
        problem = f"got {len(cells)} cells, expected {len(header)} as in the header"
        raise placed(InputError.about(f"row {row} of the CSV body", problem, "give each column a cell"), row)
    return dict(zip(header, _converted(cells, converters, row), strict=True))


def _converted(cells: list[str], converters: list[Callable[[str], Any]], row: int) -> list[Any]:
    try:
        if len(cells) == len(converters):
            return [convert(cell) for convert, cell in zip(converters, cells, strict=True)]
        # The wrong number of cells, which the core refuses in its own words, or a matrix of any width.
        return [converters[0](cell) for cell in cells]
    except ValueError:
        for position, cell in enumerate(cells):
            convert = converters[position] if len(cells) == len(converters) else converters[0]
            if convert is not str and cell and not _is_number(cell):
                subject, problem = (
                    f"row {row}, column {position} of the CSV body",
                    f"got {cell[:40]!r}, expected a number",
                )
                raise placed(
                    InputTypeError.about(subject, problem, "leave the cell empty if there is no value"), row
                ) from None
        raise


def _no_csv(line: int, error: Exception) -> InputError:
    return InputError.about(
        "CSV body",
        f"line {line} cannot be read: {error}",
        "quote cells that hold quotes or commas, and close the quotes",
    )


def placed(error: InputError, row: int | None, field: str | None = None) -> InputError:
    """The error with the row that it is about."""
    error.row, error.field = row, field
    return error


def csv_text(predictions: Any, *, header: bool) -> bytes:
    """Predictions as CSV: a line for each row, a column for each number of it.

    `predictions` is a list with a value, a list or a dict for each row, or a dict of such lists by output.
    """
    from io import StringIO

    outputs = predictions if isinstance(predictions, dict) else {"prediction": predictions}
    columns = {name: list(map(_cells, values)) for name, values in outputs.items()}
    names: list[str] = []
    for name, rows in columns.items():
        keys = next(iter(rows), {"": None})
        names += [f"{name}_{key}" if key else name for key in keys]
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if header:
        writer.writerow(names)
    for cells in zip(*columns.values(), strict=True):
        writer.writerow([cell for part in cells for cell in part.values()])
    return text.getvalue().encode()


def _cells(value: Any) -> dict[str, Any]:
    """The cells of one prediction by what is added to the name of its column."""
    if isinstance(value, dict):
        return {str(key): part for key, part in value.items()}
    if isinstance(value, list):
        flat = {str(index): part for index, part in enumerate(_flat(value))}
        return {"": flat["0"]} if len(flat) == 1 else flat
    return {"": value}


def _flat(values: list[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list):
            yield from _flat(value)
        else:
            yield value
