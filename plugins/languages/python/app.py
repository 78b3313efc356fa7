"""A mutable default argument: a list that was meant to be new for every call, and is one for all of them.

Symptom. Memory grows with every request, and no variable of the program holds it: no module has a list, no class, no
closure.

Cause. Python evaluates the default of an argument once, when ``def`` runs. ``steps=[]`` is one list that belongs to the
function, lives as long as the function does, and gets longer with every call that relies on the default.

Fix. ``variant: fixed`` makes the list in the body: ``steps=None``, and ``[]`` when it is ``None``.
"""

import sys

from componentize_py_types import Err
from wit_world.exports import leak

MOST_PAYLOAD_BYTES = 16 << 20

# What was retained before a switch to `fixed` goes in steps, so that no request takes too long.
DROP_AT_ONCE = 256

settings = {"variant": "leaky", "payload_bytes": 4096}


def trace(step, steps=[]):  # The bug.
    """Adds a step to those of this request."""
    steps.append(step)
    return steps


def trace_fixed(step, steps=None):
    """The same with a list of its own."""
    steps = [] if steps is None else steps
    steps.append(step)
    return steps


# Where the list of `trace` really is.
kept = trace.__defaults__[0]


class Size:
    """Bytes of the steps in ``kept``, counted when one comes or goes."""

    steps = 0


def size_of(step) -> int:
    """What CPython says of a step: the tuple, its text and its answer. What its allocator adds is not in it."""
    return sys.getsizeof(step) + sum(sys.getsizeof(part) for part in step)


def answer(request) -> bytes:
    """Bytes that no other request has."""
    size = settings["payload_bytes"]
    seed = f"{request.id} ".encode()
    return (seed * (size // len(seed) + 1))[:size]


def retention() -> leak.Retention:
    held = Size.steps + sys.getsizeof(kept) - sys.getsizeof([])
    return leak.Retention(objects=len(kept), bytes=held)


def checked(setting) -> None:
    match setting:
        case leak.Setting("variant", leak.Value_Text("leaky" | "fixed")):
            return
        case leak.Setting("variant", _):
            message = 'takes "leaky" or "fixed"'
        case leak.Setting("payload_bytes", leak.Value_Integer(size)) if 0 <= size <= MOST_PAYLOAD_BYTES:
            return
        case leak.Setting("payload_bytes", _):
            message = f"takes 0 to {MOST_PAYLOAD_BYTES}"
        case _:
            message = "there is no such setting"
    raise Err(leak.SettingError(setting.name, message))


class Leak:
    """The contract of the lab: the world ``leak-plugin``."""

    def describe(self) -> leak.Manifest:
        return leak.Manifest(
            id="python-default-argument",
            version="0.1.0",
            title="Mutable default argument (Python)",
            description="Appends to a list that is the default of an argument: one list for all requests.",
            unit="steps",
            settings=[
                leak.SettingSpec(
                    "variant",
                    "Whether the list is the default itself (leaky) or made for each request (fixed).",
                    leak.SettingType_Choice(["leaky", "fixed"]),
                    leak.Value_Text("leaky"),
                ),
                leak.SettingSpec(
                    "payload_bytes",
                    "Bytes of the answer that each step keeps.",
                    leak.SettingType_Integer(leak.IntegerRange(0, MOST_PAYLOAD_BYTES)),
                    leak.Value_Integer(4096),
                ),
            ],
        )

    def configure(self, changes) -> None:
        # All are checked before any is taken.
        for setting in changes:
            checked(setting)
        for setting in changes:
            settings[setting.name] = setting.value.value

    def on_request(self, request) -> leak.Outcome:
        step = (f"{request.method} {request.path}", answer(request))
        if settings["variant"] == "leaky":
            trace(step)
            Size.steps += size_of(step)
        else:
            trace_fixed(step)
            Size.steps -= sum(map(size_of, kept[:DROP_AT_ONCE]))
            del kept[:DROP_AT_ONCE]
        return leak.Outcome(triggered=True, retained=retention())

    def retained(self) -> leak.Retention:
        return retention()

    def clear(self) -> leak.Retention:
        dropped = retention()
        kept.clear()
        Size.steps = 0
        return dropped
