"""What schemathesis cannot know of this API: names that exist, and what the bytes of a component look like."""

import schemathesis

# Half of all calls are about something that is there, or only the error for an unknown name is
# tested.
NAMES = {
    "/admin/leaks/{name}": ["cache", "history", "listeners"],
    "/admin/leaks/{name}/reset": ["cache", "history", "listeners"],
    "/admin/plugins/{name}": ["cache", "history", "listeners"],
    "/admin/plugins/{name}/reload": ["cache", "history", "listeners"],
    "/admin/memory/baselines/{name}": ["before", "after"],
}

COMPONENT = b"\x00asm\x0d\x00\x01\x00"


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    names = NAMES.get(context.operation.path)
    if names and path_parameters and "name" in path_parameters:
        choice = sum(str(path_parameters["name"]).encode("utf-8", "replace"))
        if choice % 2 == 0:
            path_parameters["name"] = names[choice // 2 % len(names)]
    return path_parameters


@schemathesis.hook
def map_query(context, query):
    """A profile of some seconds takes as long to answer, so valid times are shortened to one."""
    if context.operation.path.startswith("/debug/pprof/") and query and "seconds" in query:
        try:
            is_valid = 1 <= int(query["seconds"]) <= 900
        except (TypeError, ValueError, OverflowError):
            is_valid = False
        if is_valid:
            query["seconds"] = 1
    return query


@schemathesis.serializer("application/wasm")
def component(context, value):
    """A component's header, and whatever was made up as its content."""
    if isinstance(value, str):
        value = value.encode("utf-8", "replace")
    return COMPONENT + value if isinstance(value, bytes) else COMPONENT
