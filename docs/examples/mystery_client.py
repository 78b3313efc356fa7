#!/usr/bin/env python3
"""Plays the mystery game with an agent: a function agent(observation) -> action.

A harness passes its own function to play(). The observation is a dictionary:
    game         state of the game: aliases, level, time, closed lists (kinds, fixes)
    observation  what the level shows now (docs/agents.md)
    last         the result of the action before, or None
An action is a pair of a name and its argument:
    ("wait", seconds)      ("observe", None)      ("metrics", None)     ("traces", limit)
    ("snapshot", None)     ("diff", None)         ("hint", None)        ("submit", answer)
The game ends with "submit". The result is the grade, a dictionary with `score` and `parts`.
"""
import argparse
import json
import os
import sys
import time
import urllib.error
import urllib.request


class Host:
    def __init__(self, url, token=None):
        self.url, self.token = url.rstrip("/"), token

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, method=method)
        if self.token:
            request.add_header("Authorization", "Bearer " + self.token)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                text = answer.read().decode()
                is_json = "json" in (answer.headers.get("Content-Type") or "")
                return json.loads(text) if is_json else text
        except urllib.error.HTTPError as error:
            return {"error": json.loads(error.read() or b"{}").get("error", str(error))}


def play(host, agent, order, name="python", max_actions=500):
    """Starts a game, lets the agent act, and returns its grade."""
    started = host.call("POST", "/admin/mystery", order)
    if "error" in started:
        raise RuntimeError(started["error"])
    joined = host.call("POST", "/admin/mystery/join", {"name": name})
    player = {"game_id": joined.get("game_id", joined.get("error"))}
    actions = {
        "wait": lambda seconds: time.sleep(min(float(seconds), 60.0)),
        "observe": lambda _: None,  # each action is followed by an observation
        "metrics": lambda _: host.call("GET", "/metrics"),
        "traces": lambda limit: host.call("GET", f"/admin/mystery/traces?limit={int(limit)}"),
        "snapshot": lambda _: host.call("GET", "/admin/memory/snapshot"),
        "diff": lambda _: host.call("GET", "/admin/memory/diff"),
        "hint": lambda _: host.call("POST", "/admin/mystery/hint", player),
    }
    last = None
    for _ in range(max_actions):
        game = host.call("GET", "/admin/mystery")
        if game["status"] != "running":
            raise RuntimeError("the game is over and the agent has not answered")
        observation = host.call("GET", "/admin/mystery/observe")
        action, argument = agent({"game": game, "observation": observation, "last": last})
        if action == "submit":
            grade = host.call("POST", "/admin/mystery/answer", {**argument, **player})
            host.call("DELETE", "/admin/mystery")
            return grade
        last = actions[action](argument)
    raise RuntimeError(f"the agent has not answered within {max_actions} actions")


def growth_agent():
    """An example: names the plugin that grew most in the second half of its observations."""
    seen = []

    def agent(state):
        seen.append(state["observation"])
        if state["observation"]["elapsed_seconds"] < 0.7 * state["game"]["duration_seconds"]:
            return "wait", 5
        middle, last = seen[len(seen) // 2], seen[-1]
        before = {p["plugin"]: p["heap_live_bytes"] for p in middle.get("plugins") or []}
        grown = {p["plugin"]: p["heap_live_bytes"] - before.get(p["plugin"], 0)
                 for p in last.get("plugins") or []}
        leak = max(grown, key=grown.get) if grown else state["game"]["plugins"][0]
        requests = max(1, last["requests"] - middle["requests"])
        answer = {"leaking": [leak], "kind": "every-request"}
        return "submit", {**answer, "bytes_per_request": grown.get(leak, 0) / requests}

    return agent


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", default=os.environ.get("LEAK_URL", "http://127.0.0.1:8080"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--difficulty", type=int, default=3)
    parser.add_argument("--duration", default="2m")
    options = parser.parse_args()
    rules = {"seed": options.seed, "difficulty": options.difficulty, "duration": options.duration}
    lab = Host(options.url, os.environ.get("LEAK_ADMIN_TOKEN"))
    json.dump(play(lab, growth_agent(), rules), sys.stdout, indent=2)
