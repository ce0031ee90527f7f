"""Start the processes of a stage as torchrun does, but report a failure in one line instead of torchrun's forty.

``python -m bench.runs.torchrun`` takes torchrun's arguments. A process that fails prints one line itself
(``bench.cli.run``). The exit status is that of the process that failed first. Ctrl-C, SIGTERM and SIGUSR1 are forwarded
to the processes, which may take four minutes to write a checkpoint; the status is 128 and the number of the signal.
On several machines, a machine that does not come in time is named.
"""

import logging
import os
import signal
import sys
from types import FrameType

from bench.machine.arrivals import noted_arrival

_PREEMPTIONS = (signal.SIGTERM, signal.SIGUSR1)
_DEFAULTS = {"PET_SIGNALS_TO_HANDLE": "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1", "PET_SHUTDOWN_TIMEOUT": "240"}


def main() -> None:
    """Run torchrun; end with the status of the first process that failed."""
    for name, value in _DEFAULTS.items():  # torchrun takes flags from variables that begin with PET_
        os.environ.setdefault(name, value)
    import torch.distributed.run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous.api import RendezvousConnectionError, RendezvousTimeoutError

    logging.disable(logging.ERROR)  # silences this launcher only, not the processes that it starts
    _obey_once()
    with noted_arrival(sys.argv[1:]) as describe_missing:
        try:
            torch.distributed.run.main()
        except SignalException as error:
            sys.exit(128 + int(error.sigval))
        except KeyboardInterrupt:
            sys.exit(128 + signal.SIGINT)
        except (RendezvousConnectionError, RendezvousTimeoutError, torch.distributed.DistError):
            sys.stderr.write(f"error: {describe_missing()}\n")
            sys.exit(2)
        except ChildFailedError as error:
            _, failure = error.get_first_failure()
            status = failure.exitcode
            sys.exit(status if status > 0 else 128 - status)  # a negative status is the signal that ended the process


def _obey_once() -> None:
    """Let torchrun ignore further signals of a scheduler once it ends its processes.

    A scheduler may signal every process of a job and their launchers too. A second signal would break off the wait for
    the checkpoint.
    """
    from torch.distributed.elastic.multiprocessing import api

    obey = api._terminate_process_handler

    def obey_first(signum: int, frame: FrameType | None) -> None:
        if signum in _PREEMPTIONS:
            for each in _PREEMPTIONS:
                signal.signal(each, signal.SIG_IGN)
        obey(signum, frame)

    api._terminate_process_handler = obey_first  # torchrun has no public way to do this


if __name__ == "__main__":
    main()
