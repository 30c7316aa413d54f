"""Commands of the judge that need no server: judge intervals or the past, rehearse a ramp."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, TypeVar

import typer

from aviary.cli.border import echo, print_json
from aviary.cli.failing import CommandError, ExitCode
from aviary.cli.options import Format, FormatOption
from schemas.judging import JudgeSpec, Method, RampSpec, ThresholdSettings

if TYPE_CHECKING:
    from analysis.rehearsal import Moment, Rates

_DEFAULT = JudgeSpec()
_Spec = TypeVar("_Spec", JudgeSpec, RampSpec, ThresholdSettings)

Alpha = Annotated[float, typer.Option(help="Chance to fail a good canary, over the whole rollout.")]
Beta = Annotated[float, typer.Option(help="Chance to pass a canary worse than the tolerance.")]
Margin = Annotated[float, typer.Option(help="Times stable's rate that is still good.")]
FileArgument = Annotated[Path | None, typer.Argument(help="JSON Lines; stdin if left out or -.")]
AbsoluteMarginOption = Annotated[
    float, typer.Option(help="Share of requests added to what is still good.")
]
ToleranceOption = Annotated[
    float, typer.Option(help="Extra share of bad requests that is good enough to go on.")
]
MethodOption = Annotated[Method, typer.Option(help="How evidence becomes a verdict.")]
ClusterOption = Annotated[int, typer.Option(help="lr: errors that may have come as one.")]
LooksOption = Annotated[int, typer.Option(help="Intervals in which a regression may begin.")]
MaxErrorRatioOption = Annotated[
    float | None,
    typer.Option(help="threshold: largest share of bad requests in a window; default 0.01."),
]
WindowOption = Annotated[
    str | None, typer.Option(help="threshold: length of a window; default 1m.")
]
WatchOption = Annotated[
    bool, typer.Option("--watch", help="Go on after a PASS, until the input ends.")
]
PrometheusOption = Annotated[
    str | None, typer.Option(help="Judge the past: address of a Prometheus.")
]
ServiceOption = Annotated[str | None, typer.Option(help="The past: which service.")]
FromOption = Annotated[
    str | None, typer.Option("--from", help="The past: from when, RFC 3339 or Unix time.")
]
ToOption = Annotated[str | None, typer.Option("--to", help="The past: until when.")]
CanaryOption = Annotated[
    str | None, typer.Option(help="The past: the new version; found if left out.")
]
StableOption = Annotated[str | None, typer.Option(help="The past: the old version.")]
StepOption = Annotated[
    str | None, typer.Option(help="The past: length of an interval; default 15s.")
]
PackOption = Annotated[str | None, typer.Option(help="The past: metric pack; default envoy.")]
CatalogOption = Annotated[
    Path | None,
    typer.Option(help="The past: judge and metrics of the service, from this catalog."),
]
QueryOption = Annotated[
    list[str] | None, typer.Option(help="The past: queries of the pack; default: errors.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command("judge")(judge)
    app.command("ramp")(ramp)


_NOT_BESIDE_CATALOG = (
    *("alpha", "beta", "margin", "absolute_margin", "tolerance", "method", "cluster", "looks"),
    *("max_error_ratio", "window", "step", "pack", "query"),
)


def judge(  # noqa: PLR0913, PLR0917 - one argument per option
    ctx: typer.Context,
    file: FileArgument = None,
    alpha: Alpha = _DEFAULT.alpha,
    beta: Beta = _DEFAULT.beta,
    margin: Margin = _DEFAULT.margin,
    absolute_margin: AbsoluteMarginOption = _DEFAULT.absolute_margin,
    tolerance: ToleranceOption = _DEFAULT.tolerance,
    method: MethodOption = Method.ADAPTIVE,
    cluster: ClusterOption = _DEFAULT.cluster,
    looks: LooksOption = _DEFAULT.looks,
    max_error_ratio: MaxErrorRatioOption = None,
    window: WindowOption = None,
    watch: WatchOption = False,
    prometheus: PrometheusOption = None,
    service: ServiceOption = None,
    begin: FromOption = None,
    end: ToOption = None,
    canary: CanaryOption = None,
    stable: StableOption = None,
    step: StepOption = None,
    pack: PackOption = None,
    catalog: CatalogOption = None,
    query: QueryOption = None,
) -> None:
    """Judge canaries from counts, one interval a line, or from a Prometheus.

    A line: {"series":"a","interval_s":15,"weight":0.05,"metrics":{"errors":{"canary":[5,750],
    "stable":[10,14250]}}}, bad and all requests. One line per series is printed at the end.
    """
    spec = _checked(
        JudgeSpec,
        alpha=alpha,
        beta=beta,
        margin=margin,
        absolute_margin=absolute_margin,
        tolerance=tolerance,
        method=method,
        cluster=cluster,
        looks=looks,
        threshold=_limits(method, max_error_ratio, window),
        **_given(interval=step, pack=pack),
    )
    past = {"from": begin, "to": end, "service": service, "canary": canary, "stable": stable}
    if prometheus is None:
        _needs_prometheus(**past, step=step, pack=pack, query=query, catalog=catalog)
        from aviary.cli.judge_lines import judge_lines, lines_of  # noqa: PLC0415 - fast --help

        with _opened(file) as opened:
            results = judge_lines(lines_of(opened), spec, watch=watch)
    else:
        from aviary.cli.judge_past import Past, judge_past  # noqa: PLC0415

        _check_past(ctx, file, catalog)
        queries = tuple(query or ["errors"])
        asked = Past(prometheus, service, begin, end, canary, stable, queries, catalog)
        results = [judge_past(asked, spec, watch=watch)]
    for result in results:
        print_json(result, indent=None)


def _check_past(ctx: typer.Context, file: Path | None, catalog: Path | None) -> None:
    """Refuse what is not for the past, and beside a catalog what the catalog says."""
    if file is not None:
        raise CommandError(
            ExitCode.BAD_INPUT, f"FILE: got {file}, expected none beside --prometheus"
        )
    given = [] if catalog is None else [n for n in _NOT_BESIDE_CATALOG if _is_given(ctx, n)]
    if given:
        option = "--" + given[0].replace("_", "-")
        raise CommandError(ExitCode.BAD_INPUT, f"{option}: not expected beside --catalog")


def ramp(  # noqa: PLR0913, PLR0917 - one argument per option
    budget: Annotated[float, typer.Option(help="Extra failed requests allowed.")],
    rate: Annotated[float, typer.Option(help="Stable's share of failed requests.")] = 0.001,
    canary_rate: Annotated[
        float | None, typer.Option(help="The canary's; the same if left out.")
    ] = None,
    rps: Annotated[float, typer.Option(help="Requests per second of the service.")] = 100.0,
    tolerance: Annotated[float, typer.Option(help="Extra share that is accepted.")] = 0.001,
    interval: Annotated[str, typer.Option(help="Time between two decisions.")] = "15s",
    cap: Annotated[float, typer.Option(help="Largest weight before acceptance, percent.")] = 50.0,
    alpha: Alpha = _DEFAULT.alpha,
    beta: Beta = _DEFAULT.beta,
    margin: Margin = _DEFAULT.margin,
    output: FormatOption = Format.TABLE,
) -> None:
    """Rehearse a ramp: the weights it would set for a given rate, and what that would cost."""
    from analysis.ramp import bound_cluster, feasibility  # noqa: PLC0415 - keeps --help fast
    from analysis.rehearsal import Rates, rehearse  # noqa: PLC0415

    spec = _checked(RampSpec, budget=budget, tolerance=tolerance, interval=interval, cap=cap)
    judge_spec = _checked(JudgeSpec, alpha=alpha, beta=beta, margin=margin)
    rates = Rates(rate, rate if canary_rate is None else canary_rate, rps)
    _check(rates)
    cluster = bound_cluster(spec, judge_spec)
    checked = feasibility(spec, rate=rate, rps=rps, cluster=cluster, beta=beta)
    moments = rehearse(spec, judge_spec, rates)
    if output is Format.JSON:
        data = {**checked._asdict(), "schedule": [moment._asdict() for moment in moments]}
        print_json(data, indent=None)
        return
    echo(checked.message)
    echo("  time   weight %     routed     harm    bound %  event")
    for moment in moments:
        echo(_row(moment))


def _check(rates: Rates) -> None:
    for name, value, low, high in (
        ("--rate", rates.stable, 0.0, 1.0),
        ("--canary-rate", rates.canary, 0.0, 1.0),
        ("--rps", rates.rps, 0.001, 1e9),
    ):
        if not low <= value <= high:
            raise CommandError(
                ExitCode.BAD_INPUT, f"{name}: got {value:g}, expected {low:g} to {high:g}"
            )


def _limits(method: Method, ratio: float | None, window: str | None) -> ThresholdSettings:
    given = _given(max_error_ratio=ratio, window=window)
    if given and method is not Method.THRESHOLD:
        option = "--" + min(given).replace("_", "-")
        raise CommandError(
            ExitCode.BAD_INPUT, f"{option}: given with --method {method}, expected threshold"
        )
    return _checked(ThresholdSettings, **given)


def _is_given(ctx: typer.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _needs_prometheus(**options: Any) -> None:
    for name, value in _given(**options).items():
        raise CommandError(
            ExitCode.BAD_INPUT, f"--{name}: got {value}, expected --prometheus beside it"
        )


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None and value != []}


def _row(moment: Moment) -> str:
    minutes, seconds = divmod(int(moment.seconds), 60)
    return (
        f"{minutes:>3}:{seconds:02d} {moment.weight:>10.2f} {moment.routed:>10,.0f} "
        f"{moment.harm:>8,.0f} {100 * moment.bound:>10.3f}  {moment.event}"
    )


def _checked(kind: type[_Spec], **values: Any) -> _Spec:
    from pydantic import ValidationError  # noqa: PLC0415 - keeps --help fast

    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + "-".join(str(part) for part in first["loc"]).replace("_", "-")
        option = "--step" if kind is JudgeSpec and option == "--interval" else option
        given = values.get(str(first["loc"][0]), first["input"])
        raise CommandError(
            ExitCode.BAD_INPUT, f"{option}: got {given}, expected: {first['msg']}"
        ) from None


@contextmanager
def _opened(file: Path | None) -> Iterator[BinaryIO]:
    if file is None or str(file) == "-":
        yield sys.stdin.buffer
        return
    try:
        with file.open("rb") as lines:
            yield lines
    except OSError as error:
        raise CommandError(
            ExitCode.BAD_INPUT, f"{file}: {error.strerror}, expected a file of JSON Lines"
        ) from None
