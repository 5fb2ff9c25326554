"""What holds for every test: what else the machine does on which it runs is not told, unless the test says what."""

from __future__ import annotations

import os

os.environ["IPW_PROC"] = "/nonexistent/proc"
