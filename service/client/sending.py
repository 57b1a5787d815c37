"""The two ways to send a request; what is sent is described once, in :mod:`service.client.call`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import httpx
from pydantic import ValidationError

from service.client.call import Call, Listening, Paged, Pause, Steps
from service.client.errors import Refused, ServiceError
from service.client.event_reader import EventReader
from service.client.patience import Attempts, refusal, unreachable

T = TypeVar("T")
Page = TypeVar("Page")
Item = TypeVar("Item")

_END = b""


class Blocking:
    """Sends requests and waits for their answers; several threads may share it.

    Args:
        http: the connections.
        retry_for: seconds within which a failed request is sent again.
    """

    def __init__(self, http: httpx.Client, retry_for: float) -> None:
        self.http = http
        self._retry_for = retry_for

    def send(self, call: Call[T]) -> T:
        """Send a request, and send it again if that is safe and may help.

        Raises:
            ServiceError: the last attempt failed.
        """
        attempts = Attempts(call, self._retry_for)
        while True:
            try:
                return self._attempt(call)
            except (httpx.RequestError, Refused) as error:
                if (pause := attempts.after(error)) is None:
                    raise _final(self.http.base_url, error) from error.__cause__
            time.sleep(pause)

    def follow(self, steps: Steps[T]) -> T:
        """Take the steps one by one, and return their outcome."""
        try:
            step = next(steps)
            while True:
                try:
                    result = self._take(step)
                except ServiceError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(result)
        except StopIteration as stop:
            outcome: T = stop.value
            return outcome

    def iterate(self, paged: Paged[Page, Item]) -> Iterator[Item]:
        """Ask for page after page, each when its first item is needed."""
        call: Call[Page] | None = paged.call
        while call is not None:
            page = self.send(call)
            yield from paged.items(page)
            call = paged.after(page)

    def listen(self, listening: Listening[Item]) -> Iterator[Item]:
        """Yield the events of a stream, and connect again after the last one when it ends."""
        reader = EventReader(listening)
        attempts = Attempts(listening.call, self._retry_for)
        while True:
            try:
                for line in self._lines(reader.call()):
                    attempts = Attempts(listening.call, self._retry_for)
                    yield from reader.take(line)
            except (httpx.RequestError, Refused) as error:
                if (pause := attempts.after(error)) is None:
                    raise _final(self.http.base_url, error) from error.__cause__
                time.sleep(pause)

    def _lines(self, call: Call[None]) -> Iterator[str]:
        with self.http.stream(call.method, call.path, **_arguments(call)) as response:
            if not response.is_success:
                response.read()
                raise refusal(response)
            yield from response.iter_lines()

    def _take(self, step: Call[Any] | Pause) -> Any:
        if isinstance(step, Pause):
            return time.sleep(step.seconds)
        return self.send(step)

    def _attempt(self, call: Call[T]) -> T:
        request = self.http.build_request(call.method, call.path, **_arguments(call))
        response = self.http.send(request, stream=True)
        try:
            if call.into is None or not response.is_success:
                response.read()
                return _result(call, response)
            part = call.into.with_name(call.into.name + ".part")
            with part.open("wb") as file:
                file.writelines(response.iter_bytes())
            part.replace(call.into)
            return _result(call, response)
        finally:
            response.close()


class Awaiting:
    """As :class:`Blocking`, for programs that run on asyncio.

    Args:
        http: the connections.
        retry_for: seconds within which a failed request is sent again.
    """

    def __init__(self, http: httpx.AsyncClient, retry_for: float) -> None:
        self.http = http
        self._retry_for = retry_for

    async def send(self, call: Call[T]) -> T:
        """Send a request, and send it again if that is safe and may help.

        Raises:
            ServiceError: the last attempt failed.
        """
        attempts = Attempts(call, self._retry_for)
        while True:
            try:
                return await self._attempt(call)
            except (httpx.RequestError, Refused) as error:
                if (pause := attempts.after(error)) is None:
                    raise _final(self.http.base_url, error) from error.__cause__
            await asyncio.sleep(pause)

    async def follow(self, steps: Steps[T]) -> T:
        """Take the steps one by one, and return their outcome."""
        try:
            step = next(steps)
            while True:
                try:
                    result = await self._take(step)
                except ServiceError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(result)
        except StopIteration as stop:
            outcome: T = stop.value
            return outcome

    async def iterate(self, paged: Paged[Page, Item]) -> AsyncIterator[Item]:
        """Ask for page after page, each when its first item is needed."""
        call: Call[Page] | None = paged.call
        while call is not None:
            page = await self.send(call)
            for item in paged.items(page):
                yield item
            call = paged.after(page)

    async def listen(self, listening: Listening[Item]) -> AsyncIterator[Item]:
        """Yield the events of a stream, and connect again after the last one when it ends."""
        reader = EventReader(listening)
        attempts = Attempts(listening.call, self._retry_for)
        while True:
            try:
                async for line in self._lines(reader.call()):
                    attempts = Attempts(listening.call, self._retry_for)
                    for item in reader.take(line):
                        yield item
            except (httpx.RequestError, Refused) as error:
                if (pause := attempts.after(error)) is None:
                    raise _final(self.http.base_url, error) from error.__cause__
                await asyncio.sleep(pause)

    async def _lines(self, call: Call[None]) -> AsyncIterator[str]:
        async with self.http.stream(call.method, call.path, **_arguments(call)) as response:
            if not response.is_success:
                await response.aread()
                raise refusal(response)
            async for line in response.aiter_lines():
                yield line

    async def _take(self, step: Call[Any] | Pause) -> Any:
        if isinstance(step, Pause):
            return await asyncio.sleep(step.seconds)
        return await self.send(step)

    async def _attempt(self, call: Call[T]) -> T:
        arguments = _arguments(call)
        content = arguments.get("content")
        if isinstance(content, Iterable) and not isinstance(content, bytes | AsyncIterator):
            arguments["content"] = _in_threads(iter(content))
        request = self.http.build_request(call.method, call.path, **arguments)
        response = await self.http.send(request, stream=True)
        try:
            if call.into is None or not response.is_success:
                await response.aread()
                return _result(call, response)
            part = call.into.with_name(call.into.name + ".part")
            with part.open("wb") as file:
                async for chunk in response.aiter_bytes():
                    file.write(chunk)
            part.replace(call.into)
            return _result(call, response)
        finally:
            await response.aclose()


def _arguments(call: Call[Any]) -> dict[str, Any]:
    body: Mapping[str, Any] = call.body()
    return {"params": call.query or None, "headers": call.headers, **body}


def _result(call: Call[T], response: httpx.Response) -> T:
    """Read an answer. Raises Refused, or ServiceError if it is not an answer of the service."""
    if not response.is_success:
        raise refusal(response)
    try:
        return call.read(response)
    except ValidationError as error:
        raise ServiceError(
            f"{response.request.url}: this is not an answer of the service, or of a version that "
            f"this client does not know: {error.errors()[0]['msg']}"
        ) from error


def _final(url: httpx.URL, error: httpx.RequestError | Refused) -> ServiceError:
    return error if isinstance(error, Refused) else unreachable(str(url), error)


async def _in_threads(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Read chunks in threads, because reading files would hold up the event loop."""
    loop = asyncio.get_running_loop()
    while chunk := await loop.run_in_executor(None, next, chunks, _END):
        yield chunk
