"""Retains memory in lines that Python reaches in different ways.

Each line with a comment that begins with "at" retains at least 5,000 bytes.
"""

import asyncio
import csv
import dataclasses
import io
import json
import re

import wit_world

kept = []
SIZE = 5000


def through_json():
    def hook(value):
        kept.append(bytes(SIZE))  # at json hook
        return value

    json.loads('{"a": 1}', object_hook=hook)
    text = "[" + ", ".join(str(n + 1000) for n in range(1000)) + "]"
    kept.append(json.loads(text))  # at json list


def through_re():
    def replace(match):
        kept.append(bytes(SIZE))  # at re
        return ""

    re.sub("a", replace, "banana")
    kept.append(re.findall("[0-9]+", " ".join(map(str, range(1000)))))  # at re list


@dataclasses.dataclass
class Order:
    amount: int
    blob: bytes = dataclasses.field(default_factory=lambda: bytes(SIZE))  # at dataclass


def through_dataclasses():
    kept.append(Order(1))


class Rows:
    def write(self, row):
        kept.append(bytes(SIZE) + row.encode())  # at csv
        return len(row)


def through_csv():
    csv.writer(Rows()).writerow([1, 2, 3])
    kept.append(list(csv.reader(io.StringIO("a,b,c\n" * 200))))  # at csv list


async def child(n):
    await asyncio.sleep(0)
    kept.append(bytes(SIZE + n))  # at asyncio


def through_asyncio():
    # A world without sockets has no event loop, so the coroutines run step by step.
    for n in range(3):
        step = child(n)
        try:
            while True:
                step.send(None)
        except StopIteration:
            pass


def raises(n):
    if n:
        raises(n - 1)
    raise ValueError("no")


def through_exception():
    try:
        raises(3)
    except ValueError:
        kept.append(bytes(SIZE))  # at except
    finally:
        kept.append(bytes(SIZE))  # at finally


def generate():
    for n in range(3):
        blob = bytes(SIZE)  # at generator
        yield blob


def through_generator():
    for blob in generate():
        kept.append(blob)
    kept.extend(
        bytes(SIZE)  # at comprehension
        for _ in range(2)
    )


class Slotted:
    __slots__ = ("blob",)

    def __init__(self):
        self.blob = bytes(SIZE)  # at slots


def through_slots():
    kept.append(Slotted())


def through_exec():
    space = {"kept": kept, "SIZE": SIZE}
    exec(compile("def f():\n    kept.append(\n        bytes(SIZE))\n", "<made>", "exec"), space)
    space["f"]()


def deep(n):
    if n:
        return deep(n - 1)
    kept.append(bytes(SIZE))  # at recursion


def key(n):
    kept.append(bytes(SIZE))  # at sorted
    return -n


def each(n):
    kept.append(bytes(SIZE))  # at map
    return n


class Managed:
    def __enter__(self):
        self.blob = bytes(SIZE)  # at with
        kept.append(self.blob)

    def __exit__(self, *arguments):
        return True

    def __getattr__(self, name):
        kept.append(bytes(SIZE))  # at getattr
        return name


def through_protocols():
    managed = Managed()
    with managed:
        managed.missing


class WitWorld(wit_world.WitWorld):
    def run(self):
        through_json()
        through_re()
        through_dataclasses()
        through_csv()
        through_asyncio()
        through_exception()
        through_generator()
        through_slots()
        through_exec()
        deep(500)
        sorted(range(3), key=key)
        list(map(each, range(3)))
        through_protocols()
        return len(kept)
