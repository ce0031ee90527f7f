"""Start the processes of a stage as torchrun does, but without its banner when one of them fails.

``python -m bench.runs.torchrun`` takes torchrun's arguments. A process that fails prints one line itself
(``bench.cli.run``); torchrun would add forty lines about its own state. The exit status is that of the process that
failed first. Ctrl-C and other signals end the processes, and the status is 128 and the number of the signal.
"""

import logging
import signal
import sys


def main() -> None:
    """Run torchrun; end with the status of the first process that failed."""
    import torch.distributed.run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    logging.disable(logging.ERROR)  # silences this launcher only, not the processes that it starts
    try:
        torch.distributed.run.main()
    except SignalException as error:
        sys.exit(128 + int(error.sigval))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        status = failure.exitcode
        sys.exit(status if status > 0 else 128 - status)  # a negative status is the signal that ended the process


if __name__ == "__main__":
    main()
