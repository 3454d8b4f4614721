"""An extension of IPython that imports what all notebooks do; kernels load it as they start."""

import gc

gc.disable()  # what is imported stays: to look for garbage in it takes a fifth of the time
from editlib import display, figures, pipeline  # noqa: E402, F401

gc.enable()


def load_ipython_extension(_) -> None:
    """Nothing more: the imports are all."""
