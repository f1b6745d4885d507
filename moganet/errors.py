"""Errors that a user can correct, printed on one line."""

import re
import sys
import traceback
from collections.abc import Callable, Sequence

# Errors that a user can cause. Any other one is a bug and shows its traceback.
USER_ERRORS = (ValueError, KeyError, TypeError, OSError, ImportError, NotImplementedError, FloatingPointError)
MAX_MESSAGE = 600


def one_line(error: BaseException) -> str:
    """Return the message of an exception on one line of at most 600 characters.

    An exception from a worker of a loader contains the worker's traceback. Of this, only the last message is returned.
    """
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if 'Original Traceback' in text:
        text = re.sub(r'^[\w.]+: ', '', text.strip().splitlines()[-1])
    text = ' '.join(text.split())
    return text if len(text) <= MAX_MESSAGE else text[:MAX_MESSAGE] + ' ...'


def run_main(main: Callable[[Sequence[str] | None], int | None], argv: Sequence[str] | None = None) -> int:
    """Call a tool's main and print an error of ``USER_ERRORS`` on one line.

    ``--debug`` anywhere on the command line shows the traceback too.

    Args:
        main: Takes the arguments without ``--debug`` and returns an exit code, where None means 0.
        argv: Arguments of the command line; None for those of the process.

    Returns:
        The exit code: 1 after an error, 130 after Ctrl-C.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    debug = '--debug' in argv
    try:
        return main([arg for arg in argv if arg != '--debug']) or 0
    except KeyboardInterrupt:
        print('stopped', file=sys.stderr)
        return 130
    except USER_ERRORS as error:
        if debug:
            traceback.print_exc()
        hint = '' if debug else ' (--debug shows where)'
        print(f'error: {one_line(error) or type(error).__name__}{hint}', file=sys.stderr)
        return 1
