"""Tests reach no hub: what they load lies here or on loopback, and a missing file fails at once."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")

import pytest

# Fixtures of the browser come from here alone: imported into two test files they would be two, and start two drivers.
pytest_plugins = ("tests.browser",)


@pytest.fixture
def as_in_a_terminal(monkeypatch):
    """A call after which rich draws its bars, as for a person who waits."""

    def set_up():
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm")
        # rich looks at the mapping that it was imported with; dill, which the processes of Dataset.map in another
        # test use, leaves it a copy
        monkeypatch.setattr("rich.console.Console._environ", os.environ)

    return set_up
