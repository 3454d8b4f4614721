"""The browser narrows rows down, shows them escaped, and leaves a page without a kernel."""

import pandas as pd
import pytest

from editlib import browse, display

EVIL = "<script>alert(1)</script>"


@pytest.fixture
def rows():
    return pd.DataFrame(
        [("EDIT", "sums", "one"), ("EDIT", "sorting", "two"), ("Std-CoT", EVIL, EVIL)],
        columns=["method", "task", "text"],
    )


def show(row):
    return display.escape(row["text"])


def parts(view):
    menus, place, page = view.children
    return menus.children, place, page


def test_menus_narrow_the_rows_down_and_the_slider_turns_the_pages(rows):
    (method, task), place, page = parts(browse.browser(rows, ["method", "task"], show))
    assert place.max == 3 and "one" in page.value
    place.value = 2
    assert "two" in page.value
    method.value = "Std-CoT"
    assert place.max == place.value == 1 and "alert" in page.value
    task.value = "sums"
    assert "No row is left" in page.value
    method.value = browse.ALL
    assert "one" in page.value


def test_no_text_gets_through_as_markup(rows):
    _, place, page = parts(browse.browser(rows, ["method", "task"], show))
    place.value = 3
    assert "<script" not in page.value and "&lt;script" in page.value
    assert "<script" not in browse.page(rows, ["task"], show, shown=3).data


def test_the_static_page_shows_one_row_of_each_sort(rows):
    text = browse.page(rows, ["method"], show, shown=2).data
    assert "one" in text and "alert" in text and "two" not in text


def test_nothing_to_browse_is_no_error(rows):
    none = rows[:0]
    assert "nothing" in browse.page(none, ["method"], show, shown=2).data
    assert "No row" in parts(browse.browser(none, ["method"], show))[2].value
