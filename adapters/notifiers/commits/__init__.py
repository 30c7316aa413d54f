"""Commits and deployments of GitHub and GitLab, kept up with their releases, as kinds of notifier.

Here belongs how each platform is told. Which commit a release is made of does not
(`schemas.commit`), nor what a notice says of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Final

from pydantic import Field

from adapters.connections import Connection
from adapters.kinds import NotifierKind
from adapters.secrets import Secret

if TYPE_CHECKING:
    from adapters.links import Links
    from adapters.notifiers.commits.notifier import CommitNotifier, Platform

Repositories = Annotated[
    tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9._/*-]{1,200}$")], ...],
    Field(
        min_length=1,
        description="Whose commits are told of, such as acme/*: a deploy event says which commit "
        "it is, and must not choose among all that the token reaches.",
    ),
]
Url = Annotated[str, Field(pattern=r"^https?://[^\s?#@]+$", description="Address of its API.")]


class CommitConnection(Connection):
    """The REST API of a platform that has commits."""

    token: Secret
    repositories: Repositories
    deployments: bool = Field(
        default=True, description="Whether deployments are kept up beside commit statuses."
    )


class GitHubConnection(CommitConnection):
    """GitHub's REST API.

    Its token is an app's or a person's, with the rights statuses and deployments: write.
    """

    connection_kind: ClassVar[str] = "github"

    url: Url = "https://api.github.com"


class GitLabConnection(CommitConnection):
    """GitLab's REST API.

    Its token is a project's, a group's or a person's, with the scope api.
    """

    connection_kind: ClassVar[str] = "gitlab"

    url: Url = "https://gitlab.com/api/v4"


def _github(name: str, connection: GitHubConnection, links: Links) -> CommitNotifier:
    from adapters.notifiers.commits.github import GitHub  # noqa: PLC0415 - only where it is wanted

    platform = GitHub(connection.url, deployments=connection.deployments)
    return _notifier(name, platform, connection, links)


def _gitlab(name: str, connection: GitLabConnection, links: Links) -> CommitNotifier:
    from adapters.notifiers.commits.gitlab import GitLab  # noqa: PLC0415 - only where it is wanted

    platform = GitLab(connection.url, deployments=connection.deployments)
    return _notifier(name, platform, connection, links)


def _notifier(
    name: str, platform: Platform, connection: CommitConnection, links: Links
) -> CommitNotifier:
    from adapters.notifiers.commits.notifier import CommitNotifier  # noqa: PLC0415 - the same

    return CommitNotifier(name, platform, connection.token, connection.repositories, links)


GITHUB: Final = NotifierKind[GitHubConnection](
    name="github",
    text="Status of the commit, and deployment status, on GitHub.",
    connection=GitHubConnection,
    needs_connection=True,
    make=_github,
)
GITLAB: Final = NotifierKind[GitLabConnection](
    name="gitlab",
    text="Status of the commit, and deployment to the environment, on GitLab.",
    connection=GitLabConnection,
    needs_connection=True,
    make=_gitlab,
)
