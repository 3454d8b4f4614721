"""An extension of IPython that imports what all notebooks do; kernels load it as they start."""

from editlib import display, figures, pipeline  # noqa: F401


def load_ipython_extension(_) -> None:
    """Nothing more: the imports are all."""
