"""Turn the columns of a Parquet file into Python values.

Arrow measures values before they are converted, because a small file can expand to a huge table.
A column whose values are all plain and small is converted as a whole, which takes a tenth of the
time; every other column value by value, and so is everything without NumPy, which a client need not
have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from service.errors import InvalidInput

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_CELL = 1 << 20
"""Most bytes per text."""

MAX_LIST = 1 << 16
"""Most numbers per embedding."""

_SMALL = 1 << 20  # bytes of all texts that are converted at once


@dataclass(frozen=True, slots=True)
class Unread:
    """Stands for a value of a type that is not supported.

    Attributes:
        what: description for messages.
    """

    what: str

    def __repr__(self) -> str:
        return self.what


def values_of(name: str, column: Any) -> Callable[[int], Any]:
    """Prepare to read a column.

    Args:
        name: its name, for messages.
        column: a pyarrow array.

    Returns:
        Gives the value of a row as :func:`value_of` does, with the same errors; an embedding may be
        an array (D,) float32 or float64 instead of a list.
    """
    column = _with_microseconds(column)
    values = _as_a_whole(name, column)
    return partial(_cell, name, column) if values is None else values.__getitem__


def value_of(name: str, scalar: Any) -> Any:
    """Convert one value to a Python object.

    Args:
        name: its column, for messages.
        scalar: a pyarrow scalar.

    Returns:
        The object; None for a missing value.

    Raises:
        InvalidInput: it is too large, or cannot be read.
    """
    import pyarrow as pa  # type: ignore[import-untyped]  # noqa: PLC0415 - an optional extra

    if isinstance(scalar, pa.DictionaryScalar) and scalar.is_valid:
        scalar = scalar.value
    if not scalar.is_valid:
        return None
    if isinstance(scalar, pa.BinaryScalar):  # texts are of this type too
        _require_fewer(name, "bytes", scalar.as_buffer().size, MAX_CELL)
    elif pa.types.is_nested(scalar.type) or isinstance(scalar, pa.ExtensionScalar):
        if name != "embedding" or not _is_vector(scalar):
            return Unread(f"a value of type {str(scalar.type)[:80]}")
        _require_fewer(name, "numbers", len(scalar.values), MAX_LIST)
    try:
        return scalar.as_py()
    except (ValueError, OverflowError, LookupError) as error:
        # For example durations and times of day in nanoseconds, or zones that do not exist.
        raise InvalidInput(f"column {name}: a value cannot be read: {error}") from error


def _as_a_whole(name: str, column: Any) -> list[Any] | None:
    """All values of a column; None if they must be read one by one."""
    try:
        import numpy as np  # noqa: F401, PLC0415 - the client need not have it
    except ModuleNotFoundError:
        return None
    vectors = _vectors(column) if name == "embedding" else None
    return _plain(column) if vectors is None else vectors


def _cell(name: str, column: Any, index: int) -> Any:
    return value_of(name, column[index])


def _with_microseconds(column: Any) -> Any:
    """Round the times of a column to what Python can represent."""
    import pyarrow as pa  # noqa: PLC0415 - an optional extra

    # Python's datetime has no nanoseconds, and pyarrow drops them only if asked to.
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        return column.cast(pa.timestamp("us", tz=column.type.tz), safe=False)
    return column


def _vectors(column: Any) -> list[NDArray[Any] | None] | None:
    """The rows of a column of lists as views of one array; None if they must be read one by one."""
    import numpy as np  # noqa: PLC0415 - the client need not have it
    import pyarrow as pa  # noqa: PLC0415 - an optional extra

    is_list = pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type)
    if not is_list or column.type.value_type not in {pa.float32(), pa.float64()}:
        return None
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    lengths = column.value_lengths() if pa.types.is_list(column.type) else None
    if lengths is None:
        counts = np.where(valid, column.type.list_size, 0)
    else:
        counts = np.where(valid, lengths.fill_null(0).to_numpy(), 0)
    numbers = column.flatten()  # without the numbers of missing rows
    if numbers.null_count or len(numbers) != counts.sum() or counts.max(initial=0) > MAX_LIST:
        return None
    rows = numbers.to_numpy()
    ends = np.cumsum(counts).tolist()
    bounds = zip([0, *ends[:-1]], ends, valid.tolist(), strict=True) if ends else ()
    return [rows[start:end] if there else None for start, end, there in bounds]


def _plain(column: Any) -> list[Any] | None:
    """All values of a column of numbers or small texts; None if they must be read one by one."""
    import pyarrow as pa  # noqa: PLC0415 - an optional extra

    kind = column.type
    if pa.types.is_integer(kind) or kind in {pa.float32(), pa.float64()}:
        return list(column.to_pylist() if column.null_count else column.to_numpy().tolist())
    if pa.types.is_dictionary(kind) and pa.types.is_string(kind.value_type):
        column = _expanded(column)
    elif not pa.types.is_string(kind) or column.nbytes > _SMALL:
        return None
    try:
        return None if column is None else list(column.to_numpy(zero_copy_only=False).tolist())
    except MemoryError:  # Arrow's own memory error is also an ArrowException
        raise
    except (ValueError, pa.ArrowException):  # a text that is not UTF-8 spoils only its own row
        return None


def _expanded(column: Any) -> Any:
    """The texts of a column that keeps one copy of each; None if they are large together."""
    from pyarrow import compute  # noqa: PLC0415 - an optional extra

    lengths = compute.take(compute.binary_length(column.dictionary), column.indices)
    if (compute.sum(lengths).as_py() or 0) > _SMALL:
        return None
    return column.dictionary.take(column.indices)


def _is_vector(scalar: Any) -> bool:
    import pyarrow as pa  # noqa: PLC0415 - an optional extra

    if not isinstance(scalar, pa.ListScalar) or pa.types.is_map(scalar.type):
        return False
    return bool(pa.types.is_primitive(scalar.type.value_type))


def _require_fewer(name: str, what: str, count: int, most: int) -> None:
    if count > most:
        raise InvalidInput(f"column {name}: a value has {count:,} {what}, at most {most:,} allowed")
