from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.toy import write_rows

from hocket._errors import DataError
from hocket.chat.readers import readers
from hocket.data.chosen import ChosenRows
from hocket.data.joined import JoinedRows
from hocket.data.sources import sources


@pytest.fixture
def joined(tmp_path: Path) -> JoinedRows:
    whole = sources.get("json")(write_rows(tmp_path, count=6), reader=readers.get("llava"))
    return JoinedRows({"whole": whole, "some": ChosenRows(whole, np.array([4, 1]))})


def test_rows_stand_one_behind_the_other(joined: JoinedRows) -> None:
    assert len(joined) == 8
    assert joined.sizes() == {"whole": 6, "some": 2}
    names = [joined[index].id for index in range(8)]
    assert names == [f"row-{row}" for row in (0, 1, 2, 3, 4, 5, 4, 1)]


def test_a_row_is_called_by_its_number_in_the_file(joined: JoinedRows) -> None:
    assert joined.place(6) == ("some", 4)
    assert joined.where(7) == "some row 1"
    assert joined.numbers(np.array([0, 5, 6, 7])).tolist() == [[0, 0], [0, 5], [1, 0], [1, 1]]


def test_rows_outside_are_refused(joined: JoinedRows) -> None:
    for index in (-1, 8):
        with pytest.raises(IndexError):
            joined[index]
    with pytest.raises(DataError, match="no data set is named"):
        JoinedRows({})
