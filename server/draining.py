"""The last moments of a serving process: what is in flight is finished before it ends."""

import signal
import threading


def outlast_termination() -> None:
    """Ignore the signal that asks this process to end, because it is ending already.

    uvicorn raises the signal that it caught once more when it is done, and hosts send it two seconds after they closed
    stdin; submissions whose answers are not on record yet may still be waited for then.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
