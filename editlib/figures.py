"""Every plot of the kit: functions of tables, so that each can be redrawn without a model.

One colour is one method, or one kind of mistake, in every notebook; all are safe for colour-blind
eyes and differ in grey.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

WIDTH = 6.5  # inches


# --- teaching: notebooks 01 to 03 -------------------------------------------------------------


# --- students: notebooks 04 to 06 -------------------------------------------------------------
