"""A file of watches and events that an earlier version wrote is still used."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from service.alerts.alerts import FILE
from service.alerts.table import AlertTable
from service.alerts.watch import Watch, WatchOrder
from service.machine.erasable import CLEAN, UNCLEAN

WATCH = Watch("w", WatchOrder(gallery="door", of="known", watch_for="gallery"), 0.0, 0.0)


@pytest.mark.parametrize("state", [CLEAN, UNCLEAN])
def test_a_file_from_before_names_were_followed(tmp_path, state):
    path = tmp_path / FILE
    with closing(AlertTable(path)) as table:
        table.add_watch(WATCH)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE shown")
        connection.execute("DROP INDEX events_by_match")
        connection.execute(f"PRAGMA user_version = {state}")
    with closing(AlertTable(path)) as table:
        assert table.watches("door") == [WATCH]
        with table.reading() as connection:
            assert connection.execute("SELECT count(*) FROM shown").fetchone() == (0,)
            assert connection.execute("PRAGMA user_version").fetchone() == (state,)
