"""Read tables of numbers without a header, as published in older archives."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from chainrule.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_plain_numbers"]


def read_plain_numbers(content: bytes, name: str, **options: Any) -> pd.DataFrame:
    """Return a table that is read by pandas with these options. Raises ``DataError`` if that fails."""
    import pandas as pd

    try:
        frame: pd.DataFrame = pd.read_csv(io.BytesIO(content), **options)
        if not isinstance(frame.index, pd.RangeIndex):  # pandas reads surplus columns as an index
            raise ValueError("it has too many columns")
    except (ValueError, TypeError, OverflowError) as problem:
        first_line = str(problem).strip().split("\n")[0]
        raise DataError(f"{name} is not the published table ({first_line}); download it again.") from None
    return frame
