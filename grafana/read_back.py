"""Reads each dashboard with Grafana's own model, writes it again and compares the two.

The model drops a field that Grafana does not know, so this finds a misspelt field in the JSON.
`cargo xtask stack test` runs it. It needs the package grafana-foundation-sdk.
"""

import json
import pathlib
import sys

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard


def differences(before, after, path="$"):
    """Yields one line per difference."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            where = f"{path}.{key}"
            if key not in after:
                yield f"{where}: lost, was {json.dumps(before[key])[:80]}"
            elif key in before:  # Keys that the model adds are its defaults.
                yield from differences(before[key], after[key], where)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, pair in enumerate(zip(before, after)):
            yield from differences(*pair, f"{path}[{index}]")
    elif before != after or isinstance(before, bool) != isinstance(after, bool):
        yield f"{path}: {json.dumps(before)[:80]} became {json.dumps(after)[:80]}"


def main():
    # Without these, the model copies the options and queries of a panel without reading them.
    register_default_plugins()
    found = 0
    for name in sys.argv[1:]:
        source = json.loads(pathlib.Path(name).read_text(encoding="utf-8"))
        again = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(source)))
        for line in differences(source, again):
            found += 1
            print(f"{name}: {line}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
