"""`facet models`: what is served, and what can be."""

from cli.lazy import LazyGroup

models = LazyGroup(
    name="models",
    help="List, change and prepare the models that a backend serves.",
    modules={
        "list": "cli.models.show:list_models",
        "describe": "cli.models.show:describe",
        "register": "cli.models.register:register",
        "unregister": "cli.models.change:unregister",
        "scale": "cli.models.change:scale",
        "reload": "cli.models.change:reload",
        "default": "cli.models.change:default",
        "canary": "cli.models.change:canary",
        "lock": "cli.models.lock:lock",
        "protos": "cli.models.protos:protos",
        "fetch": "cli.models.fetch:fetch",
        "import-triton": "cli.models.import_triton:import_triton",
    },
)
