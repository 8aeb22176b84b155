"""Reads ahead: while the pages of one feed are recorded, the first pages of the next ones are on their way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from chm_web.ingestion.platforms.pages import RunsPage

T = TypeVar("T")
Pages = Iterator[RunsPage]


def read_ahead(items: Iterable[T], open_pages: Callable[[T], Pages], *, at_once: int) -> Generator[tuple[T, Pages]]:
    """Give each item, in order, with its pages, of which the first is asked for ahead of time.

    Args:
        items: what has feeds.
        open_pages: opens a feed, here and now; it must ask for nothing before its first page is taken.
        at_once: how many first pages may be on their way at once.

    An error of a first page is raised where the page is taken. Close this iterator when it is left early: what is on
    its way is then waited for, and nothing more is asked for.
    """
    if at_once == 1:
        yield from ((item, open_pages(item)) for item in items)
        return
    with ThreadPoolExecutor(at_once, thread_name_prefix="read ahead") as pool:
        under_way: deque[tuple[T, Pages, Future[RunsPage | None]]] = deque()
        try:
            for item in items:
                pages = open_pages(item)
                under_way.append((item, pages, pool.submit(next, pages, None)))
                if len(under_way) > at_once:
                    yield _hand_over(*under_way.popleft())
            while under_way:
                yield _hand_over(*under_way.popleft())
        finally:
            for *_, first in under_way:
                first.cancel()


def _hand_over(item: T, pages: Pages, first: Future[RunsPage | None]) -> tuple[T, Pages]:
    return item, _with_first(pages, first)


def _with_first(pages: Pages, first: Future[RunsPage | None]) -> Pages:
    page = first.result()
    if page is not None:
        yield page
        yield from pages
