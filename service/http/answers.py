"""Build large answers in a thread, not on the event loop.

While the loop turned 64,000 matches into JSON, it would answer nothing else, not even a probe.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec

from fastapi import Response
from pydantic import BaseModel

from service.machine.executors import ClientThreads, Threads

_Arguments = ParamSpec("_Arguments")


async def json_answer(
    threads: Threads | ClientThreads,
    build: Callable[_Arguments, BaseModel],
    /,
    *args: _Arguments.args,
    **kwargs: _Arguments.kwargs,
) -> Response:
    """Build an answer and its JSON in a thread.

    Args:
        threads: run ``build``.
        build: makes the answer.
        args: its arguments.
        kwargs: its keyword arguments.

    Returns:
        A response with status 200; the route declares its ``response_model`` for the documentation.
    """

    def text() -> bytes:
        return build(*args, **kwargs).model_dump_json().encode()

    return Response(await threads.run(text), media_type="application/json")
