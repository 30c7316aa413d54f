"""The Temporal UI as a person uses it: opens a page, reads it, presses its buttons."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from playwright.async_api import Locator, Page, expect

from schemas import ids

WITHIN_MS = 90_000.0
"""How long anything on a page may take to appear; a busy machine is slow, never wrong."""
_ANSWER = """() => {
  const dialog = document.querySelector("dialog[open]");
  const alert = dialog && dialog.querySelector(".alert p");
  if (!dialog) return "closed";
  return alert && alert.innerText !== "In Progress" && alert.innerText;
}"""
"""What the dialog says in the end, in one look: it may close at any time."""
_CLOSED = "closed"
_REFRESHES = 10
"""How often a page that the UI's own server failed to make is asked for again."""


class RefusedError(Exception):
    """The dialog stayed open and shows why."""


@dataclass(frozen=True)
class Console:
    """One browser tab with the Temporal UI.

    Args:
        page: the tab.
        address: of the UI, without a slash at the end.
    """

    page: Page
    address: str

    async def list(self, query: str) -> Locator:
        """Open the list of workflows with a query; returns the links to the found."""
        await self._go(f"/workflows?query={quote(query, safe='')}")
        await self._shown(self.page.get_by_test_id("workflow-count"))
        return self.page.locator("table a[href*='/workflows/']:visible")

    async def release(self, release_id: str) -> None:
        """Open the page of a release."""
        await self.workflow(ids.release_workflow_id(release_id))

    async def canary(self, service: str) -> None:
        """Open the page of the newest canary of a service."""
        await self.workflow(ids.canary_workflow_id(service))

    async def workflow(self, workflow_id: str) -> None:
        """Open the page of a workflow, as a link without a run id does."""
        await self._go(f"/workflows/{quote(workflow_id, safe='')}")
        await self._shown(self._tab("timeline"))
        await expect(self.page.locator("h1:visible")).to_contain_text(workflow_id)

    async def details(self) -> Locator:
        """Turn to the tab with the current details; returns their text as it is shown."""
        await self._shown(self._tab("user-metadata"))
        await self._tab("user-metadata").click()
        return self.page.frame_locator("#user-metadata-current-details").locator("main")

    async def plan(self) -> Locator:
        """Turn to the tab with the details that were fixed at the start; returns their text."""
        await self._tab("user-metadata").click()
        return self.page.frame_locator("#user-metadata-details").locator("main")

    async def attributes(self) -> Locator:
        """Turn to the tab with the search attributes."""
        await self._tab("search-attributes").click()
        return self.page.locator("main:visible").first

    @property
    def timeline(self) -> Locator:
        """The rows of the timeline."""
        return self.page.locator("button:visible")

    async def update(self, name: str, data: str = "") -> None:
        """More Actions → Send an Update.

        Raises:
            RefusedError: the dialog shows why.
        """
        dialog = await self.fill("update", name, data)
        await self._submit(dialog)

    async def signal(self, name: str, data: str = "") -> None:
        """More Actions → Send a Signal."""
        dialog = await self.fill("signal", name, data)
        await self._submit(dialog)

    async def cancel(self) -> None:
        """Request Cancellation, and confirm."""
        await self.page.locator("button:visible", has_text="Request Cancellation").click()
        await self._submit(self._dialog)

    async def fill(self, kind: str, name: str, data: str = "") -> Locator:
        """Open the dialog of a kind (`update`, `signal`) and fill it in; returns it."""
        await self.page.locator("button:visible", has_text="More Actions").click()
        await self.page.locator(f"[data-testid={kind}-button]:visible").click()
        dialog = self._dialog
        await dialog.get_by_test_id(f"{kind}-select-button").click()
        await dialog.locator("li[role=option]", has=self.page.get_by_text(name, exact=True)).click()
        if data:
            await dialog.locator(".cm-content").fill(data)
            # The editor lays its text out anew when it is left, and the button moves.
            await dialog.get_by_test_id("confirm-modal-button").focus()
            await expect(dialog.locator(".cm-line").first).to_have_text("{")
        return dialog

    @property
    def _dialog(self) -> Locator:
        return self.page.locator("dialog[open]")

    async def _submit(self, dialog: Locator) -> None:
        await dialog.get_by_test_id("confirm-modal-button").click()
        answer = str(await (await self.page.wait_for_function(_ANSWER)).json_value())
        if answer != _CLOSED:
            raise RefusedError(answer)

    def _tab(self, name: str) -> Locator:
        return self.page.locator(f"[data-testid={name}-tab]:visible")

    async def _shown(self, wanted: Locator) -> None:
        """Wait for a part of a page; where the UI says 500 instead, refresh as it asks to."""
        failed = self.page.get_by_role("heading", name="500", exact=True)
        for _ in range(_REFRESHES):
            await expect(wanted.or_(failed).first).to_be_visible()
            if not await failed.is_visible():
                return
            await self.page.reload()
        await expect(wanted).to_be_visible()

    async def _go(self, path: str) -> None:
        await self.page.goto(f"{self.address}/namespaces/default{path}")
