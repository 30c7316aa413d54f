"""moto's server, the closest there is to the API of Elastic Load Balancing, for the tests.

It moves no traffic: requests of users are drawn here, from the rules that it shows, as AWS says
that a load balancer does.
"""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import boto3
from botocore.config import Config

from adapters.routers.alb.actions import split_in
from adapters.routers.alb.tags import ASKS, SERVICE, VERSION
from tests.contract.routers.live import free_port
from tests.contract.routers.names import new_name

REGION: Final = "eu-central-1"
NOTHING_YET: Final = {
    "Type": "fixed-response",
    "FixedResponseConfig": {"StatusCode": "503", "ContentType": "text/plain"},
}
_STARTS_WITHIN_S: Final = 120


class LiveAlb:
    """A server, and in it one load balancer with two listeners."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "moto.log"
        self.url = f"http://127.0.0.1:{free_port()}"
        self._process: subprocess.Popen[bytes] | None = None
        self._priorities = itertools.count(1)
        self._targets = itertools.count(1)
        self._draw = random.Random(1)
        self.listeners: tuple[str, ...] = ()
        self.vpc = ""
        self._rules: dict[str, list[str]] = defaultdict(list)
        self._groups: dict[str, dict[str, str]] = defaultdict(dict)

    def client(self, service: str = "elbv2") -> Any:
        """A client of boto3 for it."""
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.url,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 1}, max_pool_connections=20),
        )

    def start(self) -> None:
        """Start it, and make the load balancer."""
        port = self.url.rpartition(":")[2]
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", port]
        environment = {**os.environ, "AWS_EC2_METADATA_DISABLED": "true"}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        self._wait()
        self.elb = self.client()
        ec2 = self.client("ec2")
        self.vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnets = [
            ec2.create_subnet(
                VpcId=self.vpc, CidrBlock=f"10.0.{n}.0/24", AvailabilityZone=f"{REGION}{zone}"
            )["Subnet"]["SubnetId"]
            for n, zone in enumerate("ab")
        ]
        made = self.elb.create_load_balancer(Name="edge", Subnets=subnets)["LoadBalancers"][0]
        self.listeners = tuple(
            self.elb.create_listener(
                LoadBalancerArn=made["LoadBalancerArn"],
                Protocol="HTTP",
                Port=port_,
                DefaultActions=[NOTHING_YET],
            )["Listeners"][0]["ListenerArn"]
            for port_ in (80, 8080)
        )

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def add_service(self, *versions: str, length: int = 0) -> str:
        """A target group for each version, and a rule in each listener that has none yet."""
        service = new_name(length)
        for version in versions:
            self.add_version(service, version)
        for asks in ("always", "never"):
            self.add_rule(service, self.listeners[0], asks=asks)
        for listener in self.listeners:
            self.add_rule(service, listener)
        return service

    def add_version(self, service: str, version: str) -> str:
        """The target group of a version, with one target."""
        number = next(self._targets)
        tags = [{"Key": SERVICE, "Value": service}, {"Key": VERSION, "Value": version}]
        made = self.elb.create_target_group(
            Name=f"group-{number}",
            Protocol="HTTP",
            Port=8080,
            VpcId=self.vpc,
            TargetType="ip",
            Tags=tags,
        )
        arn: str = made["TargetGroups"][0]["TargetGroupArn"]
        self._groups[service][arn] = version
        target = {"Id": f"10.0.0.{number % 200 + 10}", "Port": 8080}
        self.elb.register_targets(TargetGroupArn=arn, Targets=[target])
        return arn

    def add_rule(
        self,
        service: str,
        listener: str,
        action: Mapping[str, Any] = NOTHING_YET,
        asks: str = "",
    ) -> str:
        """A rule of a service, as its operators make it; `asks`: for those that ask for one."""
        conditions: list[dict[str, Any]] = [
            {"Field": "host-header", "HostHeaderConfig": {"Values": [service[:120]]}}
        ]
        tags = {SERVICE: service}
        if asks:
            tags[ASKS] = asks
            header = {"HttpHeaderName": "x-canary", "Values": [asks]}
            conditions.append({"Field": "http-header", "HttpHeaderConfig": header})
        made = self.elb.create_rule(
            ListenerArn=listener,
            Priority=next(self._priorities),
            Conditions=conditions,
            Actions=[action],
            Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
        )
        arn: str = made["Rules"][0]["RuleArn"]
        self._rules[service].append(arn)
        return arn

    def rules(self, service: str) -> list[dict[str, Any]]:
        """The rules of a service, as they are."""
        found: list[dict[str, Any]] = self.elb.describe_rules(RuleArns=self._rules[service])[
            "Rules"
        ]
        return found

    def tags(self, arn: str) -> dict[str, str]:
        """The tags of a resource."""
        (one,) = self.elb.describe_tags(ResourceArns=[arn])["TagDescriptions"]
        return {tag["Key"]: tag["Value"] for tag in one["Tags"]}

    def groups(self, service: str) -> dict[str, str]:
        """The version of each target group of a service."""
        return self._groups[service]

    def draw(self, service: str, users: Iterable[str], asks: str = "") -> Mapping[str, str]:
        """The version that answers each: through either listener, or where one can ask."""
        versions = self.groups(service)
        splits = [split_in(one["Actions"]) for one in self.rules(service) if _asked(one) == asks]
        answers = {}
        for user in users:
            split = self._draw.choice(splits)
            arns, weights = zip(*split.weights.items(), strict=True)
            answers[user] = versions[self._draw.choices(arns, weights)[0]]
        return answers

    def take_down(self, service: str, version: str) -> None:
        """Have the targets of a version go."""
        for arn, found in self.groups(service).items():
            if found == version:
                health = self.elb.describe_target_health(TargetGroupArn=arn)
                targets = [one["Target"] for one in health["TargetHealthDescriptions"]]
                self.elb.deregister_targets(TargetGroupArn=arn, Targets=targets)

    def set_weights(self, service: str, weights: Mapping[str, int]) -> None:
        """Change a rule as somebody else does: in the console, say."""
        arns = {version: arn for arn, version in self.groups(service).items()}
        groups = [{"TargetGroupArn": arns[one], "Weight": part} for one, part in weights.items()]
        action = {"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}
        for rule in self.rules(service):
            if not _asked(rule):
                self.elb.modify_rule(RuleArn=rule["RuleArn"], Actions=[action])

    def _wait(self) -> None:
        deadline = time.monotonic() + _STARTS_WITHIN_S
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/moto-api/", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                assert self._process is not None
                text = self._log.read_text()
                assert self._process.poll() is None, text
                assert time.monotonic() < deadline, text
                time.sleep(0.1)


def _asked(rule: Mapping[str, Any]) -> str:
    """What the header of a rule's requests says; empty: it is for all others."""
    headers = [one["HttpHeaderConfig"] for one in rule["Conditions"] if "HttpHeaderConfig" in one]
    return str(headers[0]["Values"][0]) if headers else ""
