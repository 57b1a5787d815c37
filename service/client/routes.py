"""Methods of both clients from one description.

A group such as :class:`service.client.galleries.Galleries` names each request once. On a
:class:`service.client.client.Client` its methods return the answer, on an ``AsyncClient`` they
return a coroutine of it; type checkers know which.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import update_wrapper
from typing import Any, Generic, ParamSpec, Self, TypeVar, overload

from service.client.call import Call, Listening, Paged, Steps
from service.client.sending import Awaiting, Blocking

P = ParamSpec("P")
T = TypeVar("T")
Page = TypeVar("Page")
Item = TypeVar("Item")
Sender = TypeVar("Sender", bound=Blocking | Awaiting)


class Group(Generic[Sender]):
    """Requests about one subject.

    Args:
        sender: how they are sent.
    """

    def __init__(self, sender: Sender) -> None:
        self.sender: Sender = sender


class _Method(Generic[P, T]):
    """A method of a group, which both clients share.

    Args:
        describe: makes the request, the steps or the listing from the method's arguments.
    """

    def __init__(self, describe: Callable[P, T]) -> None:
        self.describe = describe
        shown: Any = self
        update_wrapper(shown, describe)  # help() and editors show what is described

    def __set_name__(self, owner: type, name: str) -> None:
        """Take the name that callers use."""
        self.__name__ = name
        self.__qualname__ = f"{owner.__name__}.{name}"

    def _bound(self, send: Callable[[T], Any]) -> Any:
        describe = self.describe
        shown: Any = self

        def method(*args: P.args, **fields: P.kwargs) -> Any:
            return send(describe(*args, **fields))

        return update_wrapper(method, shown)


class Route(_Method[P, Call[T]]):
    """A method that sends one request."""

    @overload
    def __get__(self, group: None, owner: type) -> Self: ...
    @overload
    def __get__(self, group: Group[Blocking], owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(
        self, group: Group[Awaiting], owner: type
    ) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, group: Group[Any] | None, owner: type) -> Any:
        """The method of a group; the description itself when the class is asked."""
        return self if group is None else self._bound(group.sender.send)


class Conversation(_Method[P, Steps[T]]):
    """A method that sends several requests, one after the other."""

    @overload
    def __get__(self, group: None, owner: type) -> Self: ...
    @overload
    def __get__(self, group: Group[Blocking], owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(
        self, group: Group[Awaiting], owner: type
    ) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, group: Group[Any] | None, owner: type) -> Any:
        """The method of a group; the description itself when the class is asked."""
        return self if group is None else self._bound(group.sender.follow)


class Stream(_Method[P, Listening[Item]]):
    """A method that iterates over the events of a stream, for as long as its caller does."""

    @overload
    def __get__(self, group: None, owner: type) -> Self: ...
    @overload
    def __get__(self, group: Group[Blocking], owner: type) -> Callable[P, Iterator[Item]]: ...
    @overload
    def __get__(self, group: Group[Awaiting], owner: type) -> Callable[P, AsyncIterator[Item]]: ...
    def __get__(self, group: Group[Any] | None, owner: type) -> Any:
        """The method of a group; the description itself when the class is asked."""
        return self if group is None else self._bound(group.sender.listen)


class Pages(_Method[P, Paged[Page, Item]]):
    """A method that iterates over every item of a listing, page after page."""

    @overload
    def __get__(self, group: None, owner: type) -> Self: ...
    @overload
    def __get__(self, group: Group[Blocking], owner: type) -> Callable[P, Iterator[Item]]: ...
    @overload
    def __get__(self, group: Group[Awaiting], owner: type) -> Callable[P, AsyncIterator[Item]]: ...
    def __get__(self, group: Group[Any] | None, owner: type) -> Any:
        """The method of a group; the description itself when the class is asked."""
        return self if group is None else self._bound(group.sender.iterate)
