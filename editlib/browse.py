"""Browse a table of texts: with controls where a kernel runs, as a static page where none does."""

from collections.abc import Callable, Mapping, Sequence

import ipywidgets
import pandas as pd
from IPython.display import HTML, display

from editlib.display import NO_FORMULAS, escape

ALL = "all"
Show = Callable[[Mapping], str]  # a row -> HTML, every text in it escaped


def browse(rows: pd.DataFrame, by: Sequence[str], show: Show, shown: int = 3) -> None:
    """Display a few rows as they are, and below them a browser of all rows.

    The executed copy of a notebook keeps the former, which needs no kernel. by: columns to choose
    by. shown: how many rows; the first of each combination of by come before others.
    """
    display(page(rows, by, show, shown))
    display(browser(rows, by, show))


def page(rows: pd.DataFrame, by: Sequence[str], show: Show, shown: int) -> HTML:
    """The first row of each combination of columns, so many of them, spread evenly."""
    firsts = rows.drop_duplicates(list(by))
    firsts = firsts.iloc[:: max(1, len(firsts) // shown)].head(shown)
    parts = [f"{_title(row, by)}{show(row)}" for row in firsts.to_dict("records")]
    return HTML("<hr>".join(parts) or "There is nothing to browse.")


def browser(rows: pd.DataFrame, by: Sequence[str], show: Show) -> ipywidgets.VBox:
    """Menus that narrow the rows down, and a slider through those that are left."""
    menus = {
        name: ipywidgets.Dropdown(options=_choices(rows[name]), description=name) for name in by
    }
    place = ipywidgets.IntSlider(min=1, max=1, description="row", continuous_update=False)
    view = ipywidgets.HTML()

    def narrowed() -> pd.DataFrame:
        kept = rows
        for name, menu in menus.items():
            if menu.value != ALL:
                kept = kept[kept[name].astype(str) == menu.value]
        return kept

    def turn(_=None) -> None:
        kept = narrowed()
        place.max = max(1, len(kept))
        if len(kept):
            row = kept.iloc[place.value - 1].to_dict()
            view.value = f"<p>{len(kept)} rows</p>{_title(row, by)}{show(row)}"
        else:
            view.value = "<p>No row is left: choose something else above.</p>"

    for control in (*menus.values(), place):
        control.observe(turn, names="value")
    turn()
    return ipywidgets.VBox([ipywidgets.HBox(list(menus.values())), place, view])


def _choices(column: pd.Series) -> list[str]:
    return [ALL, *dict.fromkeys(column.astype(str))]


def _title(row: Mapping, by: Sequence[str]) -> str:
    told = ", ".join(f"{escape(name)}: {escape(str(row[name]))}" for name in by)
    return f"<p {NO_FORMULAS}><b>{told}</b></p>"
