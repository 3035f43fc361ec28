"""Models behind Ray Serve: each replica has a process of `bise serve`, and passes requests on to it.

    from ray import serve
    import bise.ray.serve

    serve.run(bise.ray.serve.app("mistral.gguf", replicas=2, num_cpus=8))

or from a file of `serve deploy`, with `import_path: bise.ray.serve:build`.
"""

import asyncio
import logging
from typing import Any

import pydantic
from ray import serve
from ray.serve.config import RequestRouterConfig
from starlette.requests import Request
from starlette.responses import Response

from bise.ray import program
from bise.ray.forward import Forward
from bise.ray.server import Server, named

log = logging.getLogger("ray.serve")

# Requests to a replica besides those for answers: of health, names, metrics.
BESIDES = 16

STICKY = RequestRouterConfig(
    request_router_class="ray.serve.experimental.consistent_hash_router.ConsistentHashRouter"
)


class Settings(pydantic.BaseModel, extra="forbid"):
    """What is served, and how."""

    model: str | None = None
    """As MODEL of the program: a path that each node has, a name of a hub's; None is the built-in
    model."""
    replicas: pydantic.PositiveInt = 2
    """Processes, each with the whole model."""
    num_cpus: pydantic.PositiveInt = 1
    """Cores of a replica, which are its threads."""
    sequences: pydantic.PositiveInt = 64
    """Answers that a replica writes at a time; further requests wait until any replica has room."""
    max_body: pydantic.PositiveInt = 32 << 20
    """Bytes of the largest request."""
    grace: pydantic.NonNegativeInt = 30
    """Seconds that answers may go on when a replica is to end."""
    sticky: bool = True
    """Whether requests of a session (header x-session-id) go to one replica, which knows what was
    said before; without, each goes to a replica with little to do."""
    options: list[str] = []
    """More options of `bise serve`."""
    program: str | None = None
    """Where the program is; else BISE_PROGRAM says it, or it is the Python environment's `bise`."""
    deployment: dict[str, Any] = {}
    """More options of a deployment of Ray Serve, such as `ray_actor_options`."""

    @pydantic.field_validator("options")
    @classmethod
    def _ours(cls, options: list[str]) -> list[str]:
        for option in options:
            name = option.split("=")[0]
            if name in TAKEN:
                raise ValueError(f"{name} is not taken here: {TAKEN[name]}")
        return options

    def arguments(self) -> list[str]:
        """Those of `bise serve`."""
        model = [] if self.model is None else ["--model", self.model]
        numbers = {
            "--threads": self.num_cpus,
            "--sequences": self.sequences,
            "--max-body": self.max_body,
            "--grace": self.grace,
        }
        return [*model, *(str(word) for pair in numbers.items() for word in pair), *self.options]


# Options of the program that are set by us, and where to say it instead.
TAKEN = {
    "--host": "a replica's server is for the replica alone; Ray Serve's HTTP options have the host",
    "--port": "a replica's server chooses its own; Ray Serve's HTTP options have the port",
    "--exit-with-parent": "it is always on",
    "--threads": "say num_cpus",
    "-t": "say num_cpus",
    "--sequences": "say sequences",
    "--max-body": "say max_body",
    "--grace": "say grace",
    "--model": "say model",
    "-m": "say model",
    "--log-text": "texts would be kept in Ray's log files",
}


class Replica:
    """A server of a model, and the way to it."""

    async def __init__(self, settings: Settings):
        self._grace = settings.grace
        self._command = program.find(settings.program), settings.arguments()
        self._server = await Server.start(*self._command)
        self._is_up = asyncio.Event()
        self._is_up.set()
        self._forward = Forward(self._address, settings.max_body)
        self._keeping = asyncio.create_task(self._keep())

    async def __call__(self, request: Request) -> Response:
        return await self._forward(request)

    async def check_health(self) -> None:
        """Raises an error if the server does not work, and another one is not being started."""
        if self._keeping.done():
            raise RuntimeError("bise serve ended, and could not be started again")
        if self._is_up.is_set():
            await self._forward.health()

    async def _address(self) -> str:
        """That of the server, when there is one."""
        await self._is_up.wait()
        return self._server.address

    async def _keep(self) -> None:
        """Starts another server when one ends. Requests wait for it here, so that sessions keep
        their replica, and this one is not taken for the one that has the least to do."""
        try:
            while True:
                code = await self._server.ended()
                log.error("bise serve ended with %s: another one is started", named(code))
                self._is_up.clear()
                self._server = await Server.start(*self._command)
                self._is_up.set()
        except Exception:
            log.exception("bise serve could not be started again")
            # Those that wait are told, and the next check of health ends the replica.
            self._is_up.set()

    async def __del__(self) -> None:
        if hasattr(self, "_keeping"):
            self._keeping.cancel()
            await self._forward.close()
            await self._server.stop(self._grace)


def app(model: str | None = None, **settings: Any) -> serve.Application:
    """The application that serves `model`; `settings` are those of `Settings`."""
    return build(Settings(model=model, **settings))


def build(settings: Settings) -> serve.Application:
    """The same, as `import_path` of a configuration file, with `args`."""
    asked = {
        "name": "bise",
        "num_replicas": settings.replicas,
        "max_ongoing_requests": settings.sequences + BESIDES,
        "ray_actor_options": {"num_cpus": settings.num_cpus},
        "max_constructor_retry_count": 3,
        "health_check_period_s": 2,
        "health_check_timeout_s": 10,
        "graceful_shutdown_timeout_s": 2 * settings.grace + 10,
    }
    if settings.sticky:
        asked["request_router_config"] = STICKY
    return serve.deployment(Replica, **{**asked, **settings.deployment}).bind(settings)


__all__ = ["Settings", "app", "build"]
