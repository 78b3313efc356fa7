"""Retains memory in lines that Python reaches in different ways.

Each line with a comment that begins with "at" retains at least 5,000 bytes.
"""

import asyncio
import csv
import dataclasses
import io
import json
import re
import time

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


class Idle:
    """A selector without sockets: it only waits."""

    def select(self, timeout):
        if timeout:
            time.sleep(timeout)
        return []


class Loop(asyncio.BaseEventLoop):
    """An event loop for a world without sockets, as componentize-py's `poll_loop` is one."""

    def __init__(self):
        super().__init__()
        self._selector = Idle()

    def _process_events(self, events):
        pass

    def _write_to_self(self):
        pass


async def produce(queue):
    for n in range(3):
        await asyncio.sleep(0.001)
        await queue.put(bytes(SIZE + n))  # at asyncio task


async def consume(queue):
    while True:
        blob = await queue.get()
        kept.append((blob, bytes(SIZE)))  # at asyncio queue
        queue.task_done()


async def count(n):
    for i in range(n):
        await asyncio.sleep(0)
        yield bytes(SIZE + i)  # at async generator


async def late():
    try:
        await asyncio.sleep(3600)
    finally:
        kept.append(bytes(SIZE))  # at cancelled


class Session:
    async def __aenter__(self):
        await asyncio.sleep(0)
        kept.append(bytes(SIZE))  # at async with

    async def __aexit__(self, *arguments):
        kept.append(bytes(SIZE))  # at async exit


def called_back(future):
    kept.append((future.result(), bytes(SIZE)))  # at callback


async def at_work():
    queue = asyncio.Queue()
    consumer = asyncio.create_task(consume(queue))
    await asyncio.gather(produce(queue), produce(queue))
    await queue.join()
    consumer.cancel()
    kept.extend([blob async for blob in count(3)])
    try:
        await asyncio.wait_for(late(), 0.001)
    except TimeoutError:
        kept.append(bytes(SIZE))  # at timeout
    async with Session():
        pass
    future = asyncio.get_running_loop().create_future()
    future.add_done_callback(called_back)
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(0))
        future.set_result(1)
    asyncio.get_running_loop().call_later(0.001, kept.append, 1)
    await asyncio.sleep(0.002)


def through_asyncio():
    asyncio.run(at_work(), loop_factory=Loop)


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
