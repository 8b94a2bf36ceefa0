"""What every command does alike on the console."""

import sys


def quiet_libraries() -> None:
    """No bars of other libraries: loading weights takes a moment, and a bar for it would stand between the results."""
    import transformers

    transformers.utils.logging.disable_progress_bar()


def say_error(error: Exception) -> None:
    """One line on standard error: what is wrong, without a traceback."""
    print(f"aural: error: {' '.join(str(error).split()) or type(error).__name__}", file=sys.stderr)
