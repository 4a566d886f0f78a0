"""SnapStart: hooks that the runtime calls before it takes a snapshot and after it has restored one."""

from __future__ import annotations

import snapshot_restore_py

from glowplug.serve.aws_lambda.lifecycle import after_restore, before_snapshot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from glowplug.serve.aws_lambda.function import Handler


def register(handler: Handler) -> None:
    """Have both called for the handler."""
    snapshot_restore_py.register_before_snapshot(before_snapshot, handler)
    snapshot_restore_py.register_after_restore(after_restore, handler)
