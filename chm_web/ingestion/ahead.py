"""Reads ahead: while the pages of one feed are recorded, the first pages of the next ones are on their way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from chm_web.ingestion.platforms.pages import RunsPage

T = TypeVar("T")
Pages = Iterator[RunsPage]


def read_ahead(items: Iterable[T], open_pages: Callable[[T], Pages], *, ahead: int) -> Generator[tuple[T, Pages]]:
    """Give each item, in order, with its pages, of which the first is asked for ahead of time.

    Args:
        items: what has feeds.
        open_pages: opens a feed, here and now; it must ask for nothing before its first page is taken.
        ahead: how many first pages may be on their way beside the pages that are being taken.

    An error of a first page is raised where the page is taken, and until then no other feed is begun. Close this
    iterator when it is left early: what is on its way is then waited for, and nothing more is asked for.
    """
    if ahead == 0:
        yield from ((item, open_pages(item)) for item in items)
        return
    with ThreadPoolExecutor(ahead, thread_name_prefix="read ahead") as pool:
        under_way: deque[tuple[T, Pages, Future[RunsPage | None]]] = deque()
        try:
            for item in items:
                # It may be a pause that is asked for, or the end of all: nothing more is asked for before it is raised.
                while any(_has_failed(first) for *_, first in under_way):
                    yield _hand_over(*under_way.popleft())
                pages = open_pages(item)
                under_way.append((item, pages, pool.submit(next, pages, None)))
                if len(under_way) > ahead:
                    yield _hand_over(*under_way.popleft())
            while under_way:
                yield _hand_over(*under_way.popleft())
        finally:
            for *_, first in under_way:
                first.cancel()


def _has_failed(first: Future[RunsPage | None]) -> bool:
    return first.done() and first.exception() is not None


def _hand_over(item: T, pages: Pages, first: Future[RunsPage | None]) -> tuple[T, Pages]:
    return item, _with_first(pages, first)


def _with_first(pages: Pages, first: Future[RunsPage | None]) -> Pages:
    page = first.result()
    if page is not None:
        yield page
        yield from pages
