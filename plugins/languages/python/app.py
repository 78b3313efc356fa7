"""A mutable default argument: every call shares one list, although each call should have its own.

Symptom. Memory grows with every request, but no variable of the program holds it: no module, no
class and no closure has a list.

Cause. Python evaluates the default of an argument once, when ``def`` runs. ``steps=[]`` creates one
list. It belongs to the function and lives as long as the function. Every call without the argument
appends to it.

Exercise. The profiler names the line that makes what the list holds, in ``answer``, and the line of
``trace`` on which the list grows. Its call stack shows who called.

Fix. ``variant: fixed`` creates the list in the body: the default is ``None``, and the function
replaces ``None`` with ``[]``.
"""

import sys

from componentize_py_types import Err
from wit_world.exports import leak

MAX_PAYLOAD_BYTES = 16 << 20

# After a switch to `fixed`, each request drops at most this many leaked steps.
MAX_DROPS_PER_REQUEST = 256

settings = {"variant": "leaky", "payload_bytes": 4096}


def trace(step, steps=[]):  # The bug: all calls share this list.
    """Adds a step to the steps of this request."""
    steps.append(step)
    return steps


def trace_fixed(step, steps=None):  # The fix: each call creates its own list.
    """Adds a step to the steps of this request."""
    steps = [] if steps is None else steps
    steps.append(step)
    return steps


# The shared list of `trace`. Python stores it in the function object.
leaked = trace.__defaults__[0]


class Size:
    """Bytes of the steps in ``leaked``, updated when a step is added or removed."""

    steps = 0


def size_of(step) -> int:
    """Bytes of a step as CPython reports them: the tuple, its text and its answer.

    The overhead of CPython's allocator is not included.
    """
    return sys.getsizeof(step) + sum(sys.getsizeof(part) for part in step)


def answer(request) -> bytes:
    """A buffer with content that no other request has."""
    size = settings["payload_bytes"]
    seed = f"{request.id} ".encode()
    return (seed * (size // len(seed) + 1))[:size]


def retention() -> leak.Retention:
    size = Size.steps + sys.getsizeof(leaked) - sys.getsizeof([])
    return leak.Retention(objects=len(leaked), bytes=size)


def validate(setting) -> None:
    match setting:
        case leak.Setting("variant", leak.Value_Text("leaky" | "fixed")):
            return
        case leak.Setting("variant", _):
            message = 'must be "leaky" or "fixed"'
        case leak.Setting("payload_bytes", leak.Value_Integer(size)) if (
            0 <= size <= MAX_PAYLOAD_BYTES
        ):
            return
        case leak.Setting("payload_bytes", _):
            message = f"must be an integer from 0 to {MAX_PAYLOAD_BYTES}"
        case _:
            message = "is not a setting of this plugin"
    raise Err(leak.SettingError(setting.name, message))


class Leak:
    """Implements the lab's contract: the world ``leak-plugin``."""

    def describe(self) -> leak.Manifest:
        return leak.Manifest(
            id="python-default-argument",
            version="0.1.0",
            title="Mutable default argument (Python)",
            description="Appends to a default argument, a list that all requests share.",
            unit="steps",
            settings=[
                leak.SettingSpec(
                    "variant",
                    "Whether calls share one list (leaky) or each call has its own (fixed).",
                    leak.SettingType_Choice(["leaky", "fixed"]),
                    leak.Value_Text("leaky"),
                ),
                leak.SettingSpec(
                    "payload_bytes",
                    "Bytes of the answer that each step retains.",
                    leak.SettingType_Integer(leak.IntegerRange(0, MAX_PAYLOAD_BYTES)),
                    leak.Value_Integer(4096),
                ),
            ],
        )

    def configure(self, changes) -> None:
        # Validates all settings before it changes any.
        for setting in changes:
            validate(setting)
        for setting in changes:
            settings[setting.name] = setting.value.value

    def on_request(self, request) -> leak.Outcome:
        step = (f"{request.method} {request.path}", answer(request))
        if settings["variant"] == "leaky":
            trace(step)
            Size.steps += size_of(step)
        else:
            trace_fixed(step)
            Size.steps -= sum(map(size_of, leaked[:MAX_DROPS_PER_REQUEST]))
            del leaked[:MAX_DROPS_PER_REQUEST]
        return leak.Outcome(triggered=True, retained=retention())

    def retained(self) -> leak.Retention:
        return retention()

    def clear(self) -> leak.Retention:
        dropped = retention()
        leaked.clear()
        Size.steps = 0
        return dropped
