"""How all of Aviary's processes write to Temporal and read from it."""

from __future__ import annotations

from typing import Final

from temporalio.api.failure.v1 import Failure
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import (
    CompositePayloadConverter,
    DataConverter,
    DefaultFailureConverter,
    PayloadConverter,
)

from schemas.ids import REFUSED
from schemas.outside import TEXT_MOST, cut

_TRACE_MOST: Final = 8000
"""Of a stack trace, in characters. A failure larger than Temporal's bound would be lost."""


class PlainFailures(DefaultFailureConverter):
    """Bounds the texts of a failure, and leaves the stack trace out of a refusal.

    What an adapter says of a failure may come from outside, whole pages of it; a refusal is an
    answer to a person.
    """

    def to_failure(
        self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure
    ) -> None:
        """Write an exception as Temporal's failure."""
        super().to_failure(exception, payload_converter, failure)
        if failure.application_failure_info.type == REFUSED:
            failure.stack_trace = ""
        failure.message = cut(failure.message, TEXT_MOST)
        failure.stack_trace = cut(failure.stack_trace, _TRACE_MOST)


_ADAPTERS: Final = 256
_SHARED: Final = PydanticPayloadConverter(max_cached_type_adapters=_ADAPTERS)


class SharedPayloads(CompositePayloadConverter):
    """Pydantic's converter, with the adapters of all types made once for the whole process.

    Each run of a workflow has a converter of its own, and the SDK's would make them anew for each:
    half a millisecond of an alert's way, the first time that a run is told of one.
    """

    def __init__(self) -> None:
        """Take what all have in common."""
        super().__init__(*_SHARED.converters.values())


DATA_CONVERTER: Final[DataConverter] = DataConverter(
    payload_converter_class=SharedPayloads, failure_converter_class=PlainFailures
)
