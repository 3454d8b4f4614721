"""The kernels of a run: the next one starts while a notebook runs.

To start a kernel and import the libraries takes longer than most of the teaching notebooks work.
"""

import os
import tempfile
from itertools import count
from pathlib import Path
from threading import Thread

from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.utils import run_sync

from editlib.imports import NOTEBOOK

# Not a warning a notebook, nor that the sockets are closed where a cell is interrupted
QUIET = "--IPKernelApp.log_level=CRITICAL"
FORGETS = "--HistoryManager.hist_file=:memory:"
IMPORTS = ["--ext=editlib.imports"]  # what a notebook imports, before its first cell asks for it
LONGEST = 90  # characters in the name of a socket that every system takes


class OwnKernel(AsyncKernelManager):
    """Starts the kernel with the Python that runs now, whatever kernels the user has installed."""

    def __init__(self, **options):
        specs = KernelSpecManager(kernel_dirs=[])
        super().__init__(kernel_spec_manager=specs, **options)
        self.clients = []

    def client(self, **options):
        """As AsyncKernelManager; the client is kept, for nbclient leaves it open."""
        self.clients.append(super().client(**options))
        return self.clients[-1]

    def end(self, now: bool = False) -> None:
        """Wait for its end; now: without giving it time for one of its own."""
        run_sync(self.shutdown_kernel)(now=now)

    @property
    def pid(self) -> int:
        return self.provisioner.pid


class Kernels:
    """Kernels that run the notebooks of one folder, each its own, until they are closed."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._ending: Thread | None = None
        self._running: OwnKernel | None = None
        self._waiting: OwnKernel | None = None
        self._sockets = tempfile.TemporaryDirectory(prefix="editlib-")
        self._numbers = count()

    def take(self, name: str, then: str | None) -> OwnKernel:
        """The kernel of a notebook. then: the one that will most likely follow, if any will."""
        self._running = self._waiting or self._started(name)
        self._waiting = self._started(then) if then else None
        return self._running

    def leave(self) -> None:
        """Let the kernel of a notebook that is done end, and with it what it started.

        That takes a second or two, in which the next notebook runs.
        """
        for client in self._running.clients:
            client.stop_channels()
        self._see_off()
        self._ending, self._running = Thread(target=self._running.end), None
        self._ending.start()

    def _see_off(self) -> None:
        """Wait for the end of a kernel that was let go."""
        if self._ending:
            self._ending.join()
        self._ending = None

    def close(self) -> None:
        """End those that are left."""
        self._see_off()
        for kernel in filter(None, (self._running, self._waiting)):
            if kernel.has_kernel and not kernel.context.closed:  # else it was ended before
                kernel.end(now=kernel is self._waiting)
        self._running = self._waiting = None
        self._sockets.cleanup()

    def _started(self, name: str) -> OwnKernel:
        kernel = OwnKernel(**self._address())
        arguments = [QUIET, FORGETS, *IMPORTS]
        env = {**os.environ, NOTEBOOK: str(self.folder / f"{name}.ipynb")}
        start = run_sync(kernel.start_kernel)
        start(extra_arguments=arguments, cwd=str(self.folder), env=env)
        return kernel

    def _address(self) -> dict[str, str]:
        """Sockets that are files: another process may take a port before the kernel does."""
        path = str(Path(self._sockets.name) / str(next(self._numbers)))
        return {"transport": "ipc", "ip": path} if len(path) <= LONGEST else {}
