"""Which role which address needs: the one table. What a role is, is the workspace's business; access.py holds to it.

An address has the row of the longest path that it begins with, whole segments alone. What has no row is for those who
operate, so that a page that somebody adds and forgets here is shut and not open.
"""

from homeroom.workspace import Role

NEEDED: dict[str, Role] = {
    "/": "operate",
    # The chat page, what pages are made of, and the way out. The page at / itself is below, as HOME.
    "/c": "talk",
    "/_nicegui": "talk",
    "/_nicegui_ws": "talk",
    "/favicon.ico": "talk",
    "/sign-out": "talk",
    "/openapi.json": "talk",
    "/metrics": "talk",  # figures without texts and names
    # The API. A path that is none is a 404 to whoever may use it at all.
    "/v1": "talk",
    "/v1/models": "talk",
    "/v1/chat/completions": "talk",
    "/v1/completions": "talk",
    "/v1/tokenize": "talk",
    "/v1/operate": "operate",
    "/v1/feedback": "operate",
    "/v1/feedback/votes": "talk",
    "/v1/feedback/edits": "talk",
    "/v1/feedback/counts": "talk",
    "/v1/feedback/consent": "talk",  # of one's own conversations
    "/v1/feedback/mine": "talk",
    "/v1/feedback/comparisons": "talk",  # the two answers of a chat
    "/v1/feedback/rankings": "annotate",
    "/v1/feedback/next": "annotate",
    "/rank": "annotate",
    "/lessons": "operate",
    "/data": "operate",
    "/runs": "operate",
    "/promote": "operate",
    "/rollback": "operate",
    "/operate": "operate",
}
HOME: Role = "talk"


def row_of(path: str) -> str:
    """The path in the table that decides."""
    while path not in NEEDED and "/" in path:
        path = path.rpartition("/")[0]
    return path or "/"


def needed(path: str) -> Role:
    return HOME if path in ("", "/") else NEEDED.get(row_of(path), "operate")
