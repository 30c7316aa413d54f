"""What goes wrong between a deployer and a real API server, and that it ends well all the same."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from adapters.deployers.kubernetes import labels
from adapters.deployers.kubernetes.deployer import KubernetesDeployer
from adapters.errors import Retryable, StaleGeneration
from adapters.kubernetes.connection import KubernetesConnection
from adapters.kubernetes.errors import Denied, Unauthorized
from adapters.kubernetes.resources import DEPLOYMENTS, PODS, Json, Resource
from aviary.local.kubernetes.cluster import Cluster
from schemas.deployment import Trouble
from tests.contract.deployers.orders import LONGEST_S, Reports, begin, put_up, stop
from tests.contract.deployers.subjects import NEW, OWNER, free, names
from tests.kubernetes.accounts import ACCOUNTS, account, pairs, rules_of
from tests.kubernetes.between import Answer, Between, Cut, Request, between
from tests.kubernetes.shop import KubernetesSubject

POLICIES = Resource(
    "admissionregistration.k8s.io/v1",
    "ValidatingAdmissionPolicy",
    "validatingadmissionpolicies",
    namespaced=False,
)
BINDINGS = Resource(
    "admissionregistration.k8s.io/v1",
    "ValidatingAdmissionPolicyBinding",
    "validatingadmissionpolicybindings",
    namespaced=False,
)
APPLIED = ("deployments", "services", "horizontalpodautoscalers")
RULES = rules_of("kubernetes")


@pytest.fixture
async def proxy(cluster: Cluster) -> AsyncIterator[Between]:
    context = ssl.create_default_context(cafile=str(cluster.authority))
    async with between(cluster.server, context) as made:
        yield made


@pytest.fixture
def token_file(cluster: Cluster, tmp_path: Path) -> Path:
    """With the token of somebody who may do everything."""
    said = yaml.safe_load(cluster.kubeconfig.read_text())
    path = tmp_path / "token"
    path.write_text(said["users"][0]["user"]["token"])
    return path


@pytest.fixture
async def far(
    proxy: Between, subject: KubernetesSubject, token_file: Path
) -> AsyncIterator[KubernetesDeployer]:
    """A deployer that asks through the proxy."""
    made = deployer_of(proxy.connection(subject.namespace, token_file=str(token_file)))
    yield made
    await made.aclose()


def deployer_of(connection: KubernetesConnection) -> KubernetesDeployer:
    return KubernetesDeployer(connection, OWNER)


async def test_a_busy_api_server_is_waited_for(
    proxy: Between, far: KubernetesDeployer, subject: KubernetesSubject
) -> None:
    def every_other(request: Request) -> Answer | None:
        return Answer(429, "too many requests", 0) if request.number % 2 else None

    proxy.fault = every_other
    state = await put_up(far, subject.wanted("busy", NEW, 1, 2))
    assert state.ready == 2
    await far.take_down("busy", NEW, 2, free)
    assert await subject.things() == frozenset()


@pytest.mark.parametrize("status", [500, 503])
async def test_an_api_server_in_trouble_is_told_of_and_the_next_attempt_goes_on(
    proxy: Between, far: KubernetesDeployer, subject: KubernetesSubject, status: int
) -> None:
    wanted = subject.wanted("ill", NEW, 1)
    for last in range(4):  # of the requests of an attempt, which are five at least
        before = len(proxy.asked)
        proxy.fault = lambda one, most=before + last: (  # type: ignore[misc]
            Answer(status, "etcdserver: leader changed") if one.number > most else None
        )
        with pytest.raises(Retryable, match="leader changed"):
            await put_up(far, wanted)
    proxy.fault = lambda _: None
    state = await put_up(far, wanted)
    assert state.ready == 1
    assert await subject.things() == names(state.instances)


async def test_connections_that_are_cut_are_told_of_and_nothing_is_there_twice(
    proxy: Between, far: KubernetesDeployer, subject: KubernetesSubject
) -> None:
    """The request may have been obeyed, or not."""
    wanted = subject.wanted("cut", NEW, 1)
    passed = 0

    def cut_writes(request: Request) -> object | None:
        nonlocal passed
        passed += request.method != "GET"
        return Cut if request.method != "GET" and passed % 2 else None

    proxy.fault = cut_writes
    async with asyncio.timeout(LONGEST_S):
        while True:
            try:
                state = await far.put_up(wanted, Reports())
                break
            except Retryable:
                continue
    assert await subject.things() == names(state.instances)


async def test_watches_that_are_cut_are_begun_anew(
    proxy: Between, far: KubernetesDeployer, subject: KubernetesSubject
) -> None:
    proxy.watch_s = 0.2
    state = await put_up(far, subject.wanted("watched", NEW, 1, 2))
    assert state.ready == 2
    assert sum(one.is_watch for one in proxy.asked) > 2, "of pods and of Deployments, and again"


async def test_one_watch_is_for_all_that_wait(
    proxy: Between, far: KubernetesDeployer, subject: KubernetesSubject
) -> None:
    wanted = [subject.wanted(f"many-{number}", NEW, 1) for number in range(5)]
    await asyncio.gather(*(put_up(far, one) for one in wanted))
    assert sum(one.is_watch for one in proxy.asked) == 2, "of pods, and of Deployments"


async def test_somebody_who_writes_all_the_time_stops_nothing(
    far: KubernetesDeployer, subject: KubernetesSubject
) -> None:
    name = labels.name_of("storm", NEW)

    async def write() -> None:
        for number in range(100_000):
            said = {"metadata": {"annotations": {"example.com/times": str(number)}}}
            found = await subject.client.get(DEPLOYMENTS, name, subject.namespace)
            if found is not None:
                await subject.client.patch(DEPLOYMENTS, name, said, subject.namespace)

    writing = asyncio.create_task(write())
    try:
        assert (await put_up(far, subject.wanted("storm", NEW, 1))).ready == 1
        scaled = await far.scale(subject.wanted("storm", NEW, 2, 2), Reports())
        assert scaled.ready == 2
    finally:
        await stop(writing)  # type: ignore[arg-type]
    found = await subject.client.get(DEPLOYMENTS, name, subject.namespace)
    assert found is not None
    assert "example.com/times" in labels.said(found), "what others write stays"


async def test_a_deployment_that_is_written_as_it_is_deleted_goes(
    proxy: Between, far: KubernetesDeployer, subject: KubernetesSubject
) -> None:
    """Its controller counts pods in it until the last moment."""
    await put_up(far, subject.wanted("counted", NEW, 1))
    name, written, deletions = labels.name_of("counted", NEW), asyncio.Event(), asyncio.Event()

    def hold(request: Request) -> asyncio.Event | None:
        if (request.verb, request.resource) != ("delete", "deployments") or deletions.is_set():
            return None
        deletions.set()
        return written

    async def write() -> None:
        await deletions.wait()
        said = {"metadata": {"annotations": {"example.com/counted": "0"}}}
        await subject.client.patch(DEPLOYMENTS, name, said, subject.namespace)
        written.set()

    proxy.hold = hold
    await asyncio.gather(write(), far.take_down("counted", NEW, 2, free))
    assert await subject.client.get(DEPLOYMENTS, name, subject.namespace) is None


async def test_a_deployment_that_is_deleted_under_us_is_made_again(
    subject: KubernetesSubject, far: KubernetesDeployer
) -> None:
    wanted = subject.wanted("deleted", NEW, 1, trouble=Trouble.PROBE_FAILED)
    task, reports = await begin(far, wanted)
    await reports.until(lambda state: len(state.instances) > 0)
    name = labels.name_of("deleted", NEW)
    first = await subject.client.get(DEPLOYMENTS, name, subject.namespace)
    await subject.client.delete(DEPLOYMENTS, name, subject.namespace)
    await subject.heal(wanted)
    state = await asyncio.wait_for(task, LONGEST_S)
    second = await subject.client.get(DEPLOYMENTS, name, subject.namespace)
    assert state.ready == 1
    assert first is not None
    assert second is not None
    assert first["metadata"]["uid"] != second["metadata"]["uid"]


async def test_what_an_admission_policy_refuses_is_told_in_its_words_and_waited_for(
    subject: KubernetesSubject, far: KubernetesDeployer
) -> None:
    policy = policy_of(subject.namespace, "every image needs a signature")
    for resource, body in policy:
        await subject.client.apply(resource, body)
    try:
        async with asyncio.timeout(LONGEST_S):
            while await is_let_in(subject):  # noqa: ASYNC110 - it takes effect when it does
                await asyncio.sleep(0.1)
        task, reports = await begin(far, subject.wanted("refused", NEW, 1))
        told = await reports.until(lambda state: state.trouble is not None)
        assert told.trouble is Trouble.WRONG_RECIPE
        assert "every image needs a signature" in told.text
    finally:
        for resource, body in policy:
            await subject.client.delete(resource, body["metadata"]["name"])
    assert (await asyncio.wait_for(task, LONGEST_S)).ready == 1


async def is_let_in(subject: KubernetesSubject) -> bool:
    try:
        await subject.client.apply(
            PODS,
            {"metadata": {"name": "probe"}, "spec": {"containers": [{"name": "a", "image": "a"}]}},
            subject.namespace,
            dry_run=True,
        )
    except Denied:
        return False
    return True


def policy_of(namespace: str, words: str) -> list[tuple[Resource, Json]]:
    """No pod in a namespace; the binding goes first when it is taken away."""
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["pods"],
    }
    selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    constraints: Json = {"resourceRules": [rule], "namespaceSelector": selector}
    about = {"metadata": {"name": namespace}}
    check = {"expression": "false", "message": words, "reason": "Forbidden"}
    return [
        (BINDINGS, {**about, "spec": {"policyName": namespace, "validationActions": ["Deny"]}}),
        (POLICIES, {**about, "spec": {"matchConstraints": constraints, "validations": [check]}}),
    ]


async def test_a_token_that_expires_is_told_of_and_the_next_one_goes_on(
    proxy: Between, subject: KubernetesSubject, tmp_path: Path
) -> None:
    path = tmp_path / "account"
    path.write_text(await account(subject.client, subject.namespace, RULES))
    deployer = deployer_of(proxy.connection(subject.namespace, token_file=str(path)))
    state = await put_up(deployer, subject.wanted("expired", NEW, 1))
    await subject.client.delete(ACCOUNTS, "aviary", subject.namespace)
    try:
        refused = await until_refused(deployer)
        assert path.read_text() not in refused
        path.write_text(await account(subject.client, subject.namespace, RULES))
        assert list(await deployer.versions("expired")) == [state]
    finally:
        await deployer.aclose()


async def until_refused(deployer: KubernetesDeployer) -> str:
    """Why we are not taken any more; the API server remembers tokens for some seconds."""
    async with asyncio.timeout(LONGEST_S):
        while True:
            try:
                await deployer.versions("expired")
            except Unauthorized as error:
                return str(error)
            await asyncio.sleep(0.2)


async def test_the_role_of_the_how_to_is_enough_and_nothing_in_it_is_too_much(
    proxy: Between, subject: KubernetesSubject, tmp_path: Path
) -> None:
    path = tmp_path / "account"
    path.write_text(await account(subject.client, subject.namespace, RULES))
    connection = proxy.connection(subject.namespace, token_file=str(path))
    later = datetime.now(UTC) + timedelta(days=31)
    deployer, old = (
        deployer_of(connection),
        KubernetesDeployer(connection, OWNER, now=lambda: later),
    )
    try:
        await whole_life(deployer, subject)
        await old.take_down("life", "1.0", 50, free)
    finally:
        await deployer.aclose()
        await old.aclose()
    used = {(one.resource, one.verb) for one in proxy.asked}
    used |= {(resource, "create") for resource in APPLIED}
    assert used == pairs(RULES)


async def whole_life(deployer: KubernetesDeployer, subject: KubernetesSubject) -> None:
    """All that is ever done to versions, of templates in the cluster."""
    absent = subject.wanted("life", "0.0", 1).model_copy(update={"recipe": {}})
    task, reports = await begin(deployer, absent)
    await reports.until(lambda state: "expected a template" in state.text)
    await stop(task)
    await subject.make_templates("life")
    for number, trouble in enumerate((Trouble.CRASH_LOOP, Trouble.PROBE_FAILED)):
        wanted = subject.wanted("life", f"0.{number}", 2, trouble=trouble)
        task, reports = await begin(deployer, wanted)
        await reports.until(lambda state, one=trouble: state.trouble is one)  # type: ignore[misc]
        await stop(task)
        await subject.heal(wanted)
        await deployer.take_down("life", f"0.{number}", 3, free)
    recipes = ({"autoscaler": "life"}, {"template": "podtemplate/life"})
    for number, recipe in enumerate(recipes):
        version = f"1.{number}"
        wanted = subject.wanted("life", version, 10, 1)
        wanted = wanted.model_copy(update={"recipe": {**recipe, "keep_versions": 0}})
        await put_up(deployer, wanted)
        more = wanted.model_copy(update={"generation": 20, "instances": 2})
        await deployer.scale(more, Reports())
        fewer = wanted.model_copy(update={"generation": 30, "config": {"COLOUR": "blue"}})
        await deployer.put_up(fewer.model_copy(update={"instances": 2}), Reports())
        if number:
            one = fewer.model_copy(update={"generation": 31, "instances": 1})
            await deployer.scale(one, Reports())
        await deployer.versions()
        await deployer.take_down("life", version, 40, free)


@pytest.mark.parametrize(
    "resource", ["deployments", "services", "horizontalpodautoscalers", "leases"]
)
async def test_a_verb_that_no_request_shows_is_needed_as_well(
    subject: KubernetesSubject, resource: str, cluster: Cluster, tmp_path: Path
) -> None:
    """What is applied and is not there yet is created, and needs that right, too."""
    path = tmp_path / "account"
    lacking = [
        {**rule, "verbs": [verb for verb in rule["verbs"] if verb != "create"]}
        if resource in rule["resources"]
        else rule
        for rule in RULES
    ]
    path.write_text(await account(subject.client, subject.namespace, lacking))
    said = {"server": cluster.server, "ca_file": cluster.authority, "token_file": str(path)}
    deployer = deployer_of(
        KubernetesConnection.model_validate({**said, "namespace": subject.namespace})
    )
    await subject.make_templates("lacking")
    wanted = subject.wanted("lacking", NEW, 1)
    wanted = wanted.model_copy(update={"recipe": {"autoscaler": "lacking"}})
    try:
        with pytest.raises(Denied, match=f'cannot create resource "{resource}"'):
            await put_up(deployer, wanted)
    finally:
        await deployer.aclose()


@pytest.mark.parametrize("kept", [0, 2])
@pytest.mark.parametrize("number", range(1, 15))
async def test_a_late_attempt_that_was_overtaken_at_any_request_leaves_no_pod(
    proxy: Between, far: KubernetesDeployer, subject: KubernetesSubject, number: int, kept: int
) -> None:
    """Whether the Deployment is deleted then, or stays without pods."""
    go_on, is_held = asyncio.Event(), asyncio.Event()

    def hold(request: Request) -> asyncio.Event | None:
        if request.number != number:
            return None
        is_held.set()
        return go_on

    proxy.hold = hold
    wanted = subject.wanted("late", NEW, 1)
    recipe = {**wanted.recipe, "keep_versions": kept}
    late, _ = await begin(far, wanted.model_copy(update={"recipe": recipe}))
    waiting = asyncio.create_task(is_held.wait())
    await asyncio.wait({late, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    await subject.deployer().take_down("late", NEW, 2, free)
    go_on.set()
    await asyncio.wait({late}, timeout=LONGEST_S)
    error = late.exception()
    assert error is None or isinstance(error, StaleGeneration), error
    found = await subject.deployer().versions("late")
    assert list(found) == []
    left, _ = await subject.client.list_all(DEPLOYMENTS, subject.namespace)
    assert all(not one["spec"]["replicas"] for one in left)
    assert await subject.things() == frozenset()


@pytest.mark.parametrize("kept", [0, 2])
async def test_who_waits_and_reads_what_was_taken_down_meanwhile_fills_it_no_more(
    proxy: Between, far: KubernetesDeployer, subject: KubernetesSubject, kept: int
) -> None:
    """The change itself wakes him: he reads the Deployment after it was emptied."""
    wanted = subject.wanted("woken", NEW, 1, trouble=Trouble.CRASH_LOOP)
    recipe = {**wanted.recipe, "keep_versions": kept}
    late, reports = await begin(far, wanted.model_copy(update={"recipe": recipe}))
    await reports.until(lambda state: state.trouble is not None)
    is_down = asyncio.Event()

    def hold(request: Request) -> asyncio.Event | None:
        lists = (request.verb, request.resource) == ("list", "deployments")
        return is_down if lists else None

    proxy.hold = hold
    await subject.deployer().take_down("woken", NEW, 2, free)
    is_down.set()
    with pytest.raises(StaleGeneration):
        await asyncio.wait_for(late, LONGEST_S)
    left, _ = await subject.client.list_all(DEPLOYMENTS, subject.namespace)
    assert [one["spec"]["replicas"] for one in left] == [0] * min(kept, 1)
    assert await subject.things() == frozenset()
