"""batchUpdate: a list of requests applied to one draft, in order, all or nothing.

Each kind is one function from its payload to its reply, registered under Google's name for it. A kind that is not
registered is refused by name with 501: an answer of {} to something that was not done would be a lie.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sheetd.sheets.builtin import batch_cells, batch_dimensions, batch_metadata, batch_rules, batch_sheets
from sheetd.sheets.builtin.draft import Draft
from sheetd.sheets.builtin.problems import ApiError, allow_only, invalid, unimplemented

Handler = Callable[[Draft, Any], dict[str, Any]]

KINDS: dict[str, Handler] = {
    **batch_cells.KINDS,
    **batch_dimensions.KINDS,
    **batch_metadata.KINDS,
    **batch_rules.KINDS,
    **batch_sheets.KINDS,
}

GOOGLE_ONLY = frozenset(
    {
        *("addBanding", "addChart", "addDataSource", "addDimensionGroup", "addFilterView", "addSlicer", "addTable"),
        *("autoFill", "autoResizeDimensions", "cancelDataSourceRefresh", "clearBasicFilter"),
        *("copyPaste", "cutPaste", "deleteBanding", "deleteDataSource"),
        *("deleteDimensionGroup", "deleteDuplicates", "deleteEmbeddedObject"),
        *("deleteFilterView", "deleteRange", "deleteTable", "duplicateFilterView", "insertRange", "pasteData"),
        *("randomizeRange", "refreshDataSource", "setBasicFilter", "textToColumns", "trimWhitespace", "updateBanding"),
        *("updateBorders", "updateChartSpec", "updateDataSource", "updateDimensionGroup"),
        *("updateEmbeddedObjectBorder", "updateEmbeddedObjectPosition", "updateFilterView", "updateSlicerSpec"),
        *("updateTable", "updateNamedRange", "insertComment", "deleteComment", "addCommentReply"),
        *("deleteCommentReply", "updateCommentPost"),
    }
)
"""What Google does and we do not; a test holds this list against Google's own description of its API."""

MOST_REQUESTS = 100_000


def kinds_of(requests: Any) -> tuple[str, ...]:
    """The name of each request; ApiError for anything that is not one request of a kind that can be done."""
    if not isinstance(requests, list) or not requests:
        raise invalid("Must specify at least one request.")
    if len(requests) > MOST_REQUESTS:
        raise invalid(f"Too many requests in one batch: {len(requests)}")
    kinds = []
    for index, request in enumerate(requests):
        if not isinstance(request, dict):
            raise invalid(f"Invalid value at 'requests[{index}]': an object is wanted")
        names = [name for name, payload in request.items() if payload is not None]
        if len(names) != 1:
            raise invalid(f"Invalid requests[{index}]: exactly one kind of request must be set, not {sorted(names)}")
        if names[0] in GOOGLE_ONLY:
            raise unimplemented(f"requests of kind {names[0]!r} (requests[{index}])")
        if names[0] not in KINDS:
            raise invalid(
                f"Invalid JSON payload received. Unknown name \"{names[0]}\" at 'requests[{index}]': Cannot find field."
            )
        kinds.append(names[0])
    return tuple(kinds)


def apply(draft: Draft, requests: list[dict[str, Any]], kinds: tuple[str, ...]) -> list[dict[str, Any]]:
    """The replies of all requests; an ApiError names the request that failed, and nothing of the draft may be kept."""
    replies: list[dict[str, Any]] = []
    try:
        for request, kind in zip(requests, kinds, strict=True):
            replies.append(KINDS[kind](draft, request[kind]))
    except ApiError as error:
        prefix = "" if error.code == 501 else f"Invalid requests[{len(replies)}].{kinds[len(replies)]}: "
        raise ApiError(error.code, f"{prefix}{error.message}") from error
    return replies


_BODY = frozenset(
    {"requests", "includeSpreadsheetInResponse", "responseRanges", "responseIncludeGridData", "commentsViewMode"}
)


def body_of(value: Any) -> dict[str, Any]:
    """A BatchUpdateSpreadsheetRequest, checked at its top level."""
    body = allow_only(value, _BODY, "body")
    if "commentsViewMode" in body:
        raise unimplemented("commentsViewMode")
    ranges = body.get("responseRanges", [])
    if not isinstance(ranges, list) or any(not isinstance(item, str) for item in ranges):
        raise invalid("Invalid value at 'response_ranges': a list of strings is wanted")
    return body
