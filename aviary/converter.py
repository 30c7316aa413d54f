"""How all of Aviary's processes write to Temporal and read from it."""

from __future__ import annotations

import dataclasses
from typing import Final

from temporalio.api.failure.v1 import Failure
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DataConverter, DefaultFailureConverter, PayloadConverter

from schemas.ids import REFUSED


class PlainFailures(DefaultFailureConverter):
    """Leaves the stack trace out of a refusal, which is an answer to a person."""

    def to_failure(
        self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure
    ) -> None:
        """Write an exception as Temporal's failure."""
        super().to_failure(exception, payload_converter, failure)
        if failure.application_failure_info.type == REFUSED:
            failure.stack_trace = ""


DATA_CONVERTER: Final[DataConverter] = dataclasses.replace(
    pydantic_data_converter, failure_converter_class=PlainFailures
)
