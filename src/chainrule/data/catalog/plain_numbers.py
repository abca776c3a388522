"""Tables of plain numbers without a header, as older archives publish them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from chainrule.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_plain_numbers"]


def read_plain_numbers(content: bytes, name: str, **options: Any) -> pd.DataFrame:
    """Return the table that pandas reads with these options; ``DataError`` names the file where it is none."""
    import pandas as pd

    try:
        frame: pd.DataFrame = pd.read_csv(io.BytesIO(content), **options)
        if not isinstance(frame.index, pd.RangeIndex):  # what pandas makes of surplus columns
            raise ValueError("it has too many columns")
    except (ValueError, TypeError, OverflowError) as problem:
        first_line = str(problem).strip().split("\n")[0]
        raise DataError(f"{name} is not the table that was published ({first_line}); download it again.") from None
    return frame
