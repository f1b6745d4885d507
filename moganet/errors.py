"""Errors that a user can mend, on one line."""

import re
import sys
import traceback
from collections.abc import Callable, Sequence

# What a user can cause. Anything else is a mistake of the program and shows its traceback.
USER_ERRORS = (ValueError, KeyError, TypeError, OSError, ImportError, NotImplementedError, FloatingPointError)
MAX_MESSAGE = 600


def one_line(error: BaseException) -> str:
    """What an exception says, on one line. Of one that a loader's worker passed on, what the worker's own said."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if 'Original Traceback' in text:
        text = re.sub(r'^[\w.]+: ', '', text.strip().splitlines()[-1])
    text = ' '.join(text.split())
    return text if len(text) <= MAX_MESSAGE else text[:MAX_MESSAGE] + ' ...'


def run_main(main: Callable[[Sequence[str] | None], int | None], argv: Sequence[str] | None = None) -> int:
    """Call a tool's main; turn an error that the user can mend into one line and exit code 1.

    ``--debug`` anywhere on the command line shows the traceback too.
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
