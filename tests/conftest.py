"""Tests reach no hub: what they load lies here or on loopback, and a missing file fails at once."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")

# Fixtures of the browser come from here alone: imported into two test files they would be two, and start two drivers.
pytest_plugins = ("tests.browser",)
