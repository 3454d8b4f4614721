"""Work side by side."""

import pytest

from editlib import cores


def test_results_come_in_the_order_of_the_items():
    assert cores.run_all(abs, [-3, 1, -2], desc="sizes") == [3, 1, 2]


def test_nothing_to_do_starts_nothing_and_shows_no_bar(monkeypatch, capsys):
    monkeypatch.setattr(cores, "Parallel", lambda **_: pytest.fail("processes for no item"))
    assert cores.run_all(abs, [], desc="sizes") == []
    assert capsys.readouterr().err == ""
