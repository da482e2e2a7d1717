"""Server of the provider on a Unix socket. Any number of terraforms attach to it, until the parent process is gone."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from tf.gen import grpc_controller_pb2, grpc_controller_pb2_grpc, grpc_stdio_pb2_grpc, tfplugin_pb2_grpc

from alts.runners.docker.provider import ADDRESS
from alts.runners.docker.provider.resources import EngineClients
from alts.runners.docker.provider.service import DockerProvider, DockerServicer

_WORKERS = 32  # concurrent calls, which mostly wait for the engine
_LOOK_INTERVAL = 1.0  # seconds between two checks of the parent
_UNDO_SECONDS = 60.0  # for calls under way to end, and to undo objects of terraforms that are gone

log = logging.getLogger(__name__)


class _Controller(grpc_controller_pb2_grpc.GRPCControllerServicer):  # type: ignore[misc]  # tf is untyped
    """go-plugin's shutdown request. It is ignored, as other terraforms use the provider."""

    def Shutdown(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002 - the protocol's signature
        return grpc_controller_pb2.Empty()


class _Stdio(grpc_stdio_pb2_grpc.GRPCStdioServicer):  # type: ignore[misc]  # tf is untyped
    """go-plugin's request for our output. The stream is empty: output goes to the log file."""

    def StreamStdio(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002 - the protocol's signature
        return iter(())


def reattach_value(socket: Path, *, pid: int) -> str:
    """Return the value of TF_REATTACH_PROVIDERS (Terraform docs, "Debugging Providers").

    "Test" makes terraform use the running provider and leave it running. The process id must be the provider's own.
    terraform checks every second whether that process lives, and cancels everything if not. If the socket does not
    answer, go-plugin before 1.5 kills the process (cmdrunner.ReattachFunc; terraform 1.11 does).
    """
    address = {"Network": "unix", "String": str(socket)}
    return json.dumps({ADDRESS: {"Protocol": "grpc", "ProtocolVersion": 6, "Pid": pid, "Test": True, "Addr": address}})


def serve(socket: Path, *, docker_host: str) -> None:
    """Serve until standard input ends, the parent dies, or SIGTERM or SIGINT arrives.

    Prints the value of TF_REATTACH_PROVIDERS as one line when the socket is ready. At the end it removes the socket,
    and the socket's folder if that is empty. Access to the folder is access to the provider: there is no other
    protection.
    """
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    pool = ThreadPoolExecutor(_WORKERS)
    server = _listening_server(pool, socket, docker_host)
    sys.stdout.write(reattach_value(socket, pid=os.getpid()) + "\n")
    sys.stdout.flush()
    _wait_for_the_end(done)
    _stop(server, pool)
    socket.unlink(missing_ok=True)
    try:
        socket.parent.rmdir()
    except OSError as error:
        log.info("the socket's folder stays: %s", error)


def _listening_server(pool: ThreadPoolExecutor, socket: Path, docker_host: str) -> Any:
    server = grpc.server(pool)
    tfplugin_pb2_grpc.add_ProviderServicer_to_server(DockerServicer(DockerProvider(EngineClients(docker_host))), server)
    grpc_controller_pb2_grpc.add_GRPCControllerServicer_to_server(_Controller(), server)
    grpc_stdio_pb2_grpc.add_GRPCStdioServicer_to_server(_Stdio(), server)
    socket.unlink(missing_ok=True)
    os.umask(0o177)
    # Raises RuntimeError if the address cannot be bound.
    server.add_insecure_port(f"unix:{socket}")
    server.start()
    return server


def _wait_for_the_end(done: threading.Event) -> None:
    # The worker holds the other end of our standard input. The kernel closes it even if the worker is killed. The
    # parent's id is a second sign, in case another child of the worker has inherited the descriptor.
    parent = os.getppid()
    threading.Thread(target=_wait_for_end_of_input, args=(done,), daemon=True).start()
    while not done.wait(_LOOK_INTERVAL):
        if os.getppid() != parent:
            return


def _wait_for_end_of_input(done: threading.Event) -> None:
    while os.read(0, 1024):
        pass
    done.set()


def _stop(server: Any, pool: ThreadPoolExecutor) -> None:
    """End the calls under way. Their clients are told at once, and their objects are undone."""
    last_resort = threading.Timer(_UNDO_SECONDS, os._exit, [1])
    last_resort.daemon = True
    last_resort.start()
    server.stop(grace=None).wait()
    pool.shutdown(wait=True)
