"""What holds for every test: other load of the machine is not told unless the test says so, and it fails no test."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

os.environ["IPW_PROC"] = "/nonexistent/proc"

settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")
