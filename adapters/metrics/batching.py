"""Many instant queries in one request: what thousands of canaries ask at nearly the same time.

Queries that come within a moment are joined with `or`, each marked with a label of its own, and the
answer is taken apart again. So the requests per second that a metrics source sees depend on that
moment, and not on the number of canaries.

One bad query must not spoil the others. Where the source says that a query is wrong, or warns of
what one of them did, the request is repeated one query at a time; where the answer is too large, in
two halves. Where it did not answer, but does answer a question that costs
nothing, one of the queries may be too much for it: each is asked alone the next time, and joined
to others again once it was answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from adapters.errors import Retryable, Terminal, Unanswered
from adapters.ports import MetricsSource
from schemas.reading import Answer, Fault, Series, partial_of

MARK: Final = "aviary_query"
"""The label that says which of the joined queries a series answers."""
_PROBE: Final = "vector(1)"
_OF_A_QUERY: Final = "PromQL "
"""How a warning begins that is of what a query did, and not of who did not answer."""
_ALONE_AT_MOST: Final = 10_000


@dataclass(eq=False)
class _Asked:
    promql: str
    at: datetime
    answer: asyncio.Future[Sequence[Series]] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def settle(self, found: Sequence[Series] | Exception) -> None:
        """Answer, if whoever asked still waits."""
        if self.answer.done():
            return
        if isinstance(found, Exception):
            self.answer.set_exception(found)
        else:
            self.answer.set_result(found)


class BatchedMetrics:
    """A metrics source that joins the queries of a moment.

    Args:
        source: answers the joined queries.
        moment: how long the first query of a batch waits for others. An answer may be as of that
            much later than it was asked for; all queries of a batch are as of the same time.
        most: queries in one request.
        sleep: waits that many seconds.
    """

    def __init__(
        self,
        source: MetricsSource,
        *,
        moment: timedelta = timedelta(milliseconds=50),
        most: int = 100,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._source = source
        self._moment = moment
        self._most = most
        self._sleep = sleep
        self._waiting: list[_Asked] = []
        self._alone: dict[str, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def query(self, promql: str, at: datetime) -> Sequence[Series]:
        """Every series of the answer as of `at`, or up to a moment later."""
        asked = _Asked(promql, at)
        if promql in self._alone:
            self._do(self._ask_alone(asked))
        else:
            if not self._waiting:
                self._do(self._gather())
            self._waiting.append(asked)
        return await asked.answer

    async def close(self) -> None:
        """Leave what is still being asked; whoever waits for it is told so."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._settle(self._waiting, _closed())

    def _do(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _gather(self) -> None:
        await self._sleep(self._moment.total_seconds())
        waiting, self._waiting = self._waiting, []
        for batch in _batches(waiting, self._moment, self._most):
            self._do(self._ask(batch))

    async def _ask(self, batch: Sequence[_Asked]) -> None:
        if len(batch) == 1:
            await self._ask_alone(batch[0])
            return
        joined = await self._found(_joined([one.promql for one in batch]), batch)
        found = joined if isinstance(joined, Exception) else _apart(joined, len(batch))
        if isinstance(found, Terminal) or _warned_of_a_query(joined):
            await asyncio.gather(*map(self._ask_alone, batch))
        elif isinstance(found, Unanswered) and found.fault is Fault.TOO_LARGE:
            half = len(batch) // 2
            await asyncio.gather(self._ask(batch[:half]), self._ask(batch[half:]))
        elif isinstance(found, Exception):
            self._settle(batch, found)
            if not isinstance(await self._found(_PROBE, batch), Exception):
                self._suspect(batch)
        else:
            for one, series in zip(batch, found, strict=True):
                one.settle(series)

    async def _ask_alone(self, asked: _Asked) -> None:
        found = await self._found(asked.promql, [asked])
        if isinstance(found, Exception) or _warned_of_a_query(found):
            self._suspect([asked])
        else:
            self._alone.pop(asked.promql, None)
        asked.settle(found)

    async def _found(self, promql: str, batch: Sequence[_Asked]) -> Sequence[Series] | Exception:
        try:
            return await self._source.query(promql, max(one.at for one in batch))
        except asyncio.CancelledError:
            self._settle(batch, _closed())
            raise
        except Exception as error:  # noqa: BLE001 - each of those who wait gets it
            return error

    @staticmethod
    def _settle(batch: Sequence[_Asked], error: Exception) -> None:
        for one in batch:
            one.settle(error)

    def _suspect(self, batch: Sequence[_Asked]) -> None:
        self._alone.update((one.promql, None) for one in batch)
        while len(self._alone) > _ALONE_AT_MOST:
            del self._alone[next(iter(self._alone))]


def _closed() -> Retryable:
    return Retryable("the metrics source was closed")


def _batches(waiting: Sequence[_Asked], moment: timedelta, most: int) -> Iterator[Sequence[_Asked]]:
    """Queries as of nearly the same time, as many as one request takes."""
    batch: list[_Asked] = []
    for asked in sorted(waiting, key=lambda one: one.at):
        if batch and (len(batch) == most or asked.at - batch[0].at > moment):
            yield batch
            batch = []
        batch.append(asked)
    if batch:
        yield batch


def _joined(queries: Sequence[str]) -> str:
    """All queries in one, as a balanced tree: `or` copies its left side each time.

    A query stands on lines of its own, since it may end with a comment.
    """
    marked = [
        f'label_replace((\n{promql}\n), "{MARK}", "{number}", "", "")'
        for number, promql in enumerate(queries)
    ]
    while len(marked) > 1:
        pairs = [marked[at : at + 2] for at in range(0, len(marked), 2)]
        marked = [f"({' or '.join(pair)})" if len(pair) > 1 else pair[0] for pair in pairs]
    return marked[0]


def _apart(found: Sequence[Series], count: int) -> list[Answer] | Unanswered:
    """The series of each query, without the mark; an answer to something else is none at all."""
    partial = partial_of(found)
    answers = [Answer(partial=partial) for _ in range(count)]
    numbers = {str(number): number for number in range(count)}
    for series in found:
        labels = dict(series.labels)
        number = numbers.get(labels.pop(MARK, ""))
        if number is None:
            return Unanswered("an answer to another query than the one asked", Fault.MALFORMED)
        answers[number].append(Series(labels=labels, value=series.value))
    return answers


def _warned_of_a_query(found: Sequence[Series] | Exception) -> bool:
    """Whether what one of the queries did may have spoilt the answers of all."""
    return not isinstance(found, Exception) and partial_of(found).startswith(_OF_A_QUERY)
