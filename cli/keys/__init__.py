"""`facet keys`: who may call."""

from cli.lazy import LazyGroup

keys = LazyGroup(
    name="keys",
    help="Make, list and revoke the keys that callers must have.",
    modules={
        "create": "cli.keys.create:create",
        "list": "cli.keys.show:list_keys",
        "revoke": "cli.keys.revoke:revoke",
    },
)
