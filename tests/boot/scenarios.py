"""What is shown on real systemd and real cloud-init. Each function is a scenario with a cloud of its own; its first line
says what it shows. `boot.py` runs them."""

import hashlib
import json
import time

from host import Failed, until


def check(holds, what):
    if not holds:
        raise Failed(what)


def fetched(world, artifacts):
    """The settings with which instances fetch the agent's tarball, and the root file system without an agent."""
    url = world.put_artifact(artifacts.tarball)
    digest = hashlib.sha256(artifacts.tarball.read_bytes()).hexdigest()
    return f'{{ url = "{url}", sha256 = "{digest}" }}', [artifacts.base]


def baked(_, artifacts):
    """The settings for an image with the agent, and that image."""
    return '"ami"', [artifacts.baked, artifacts.base]


def booted_well(world, host):
    """What holds on every host that came up, whatever it is for."""
    said = until("cloud-init's end", 60, lambda: host.read("run/cloud-init/result.json"))
    # A fallback to no data source at all reports success too.
    found = json.loads(said)["v1"]
    check(found["datasource"] == "DataSourceEc2Local" and not found["errors"], f"cloud-init: {said}")
    log = host.read("var/log/cloud-init.log")
    warnings = [line for line in log.splitlines() if "[WARNING]" in line or "[ERROR]" in line]
    check(not warnings, f"cloud-init warns: {warnings[:3]}")
    asked = world.get(f"hosts/{host.instance}/asked")
    bare = [each["path"] for each in asked if each["method"] != "PUT" and not each["with-token"]]
    check(asked and not bare, f"asked without a token: {bare}")
    until("no job to be left in systemd's queue", 20,
          lambda: host.says("systemctl", "list-jobs", "--no-legend") in ("", "No jobs running."))
    state = host.says("systemctl", "is-system-running")
    check(state == "running", f"the system is {state}: {host.says('systemctl', '--failed', '--no-legend')}")
    for unit in ("spotblock-agent.service", "ecs.service", "spotblock-guard.service", "spotblock-poweroff.timer"):
        check(host.says("systemctl", "is-active", unit) == "active", f"{unit} is {host.says('systemctl', 'is-active', unit)}")
    check(host.says("systemctl", "is-enabled", "ecs.service") == "disabled", "the ECS agent is enabled beside ours")
    joined = world.events("joined", instance=host.instance)
    check(len(joined) == 1, f"registered {len(joined)} times")


def timed(world, host):
    """From the host's start to its registration, in seconds."""
    joined = world.events("joined", instance=host.instance)[0]["at"]
    return since(joined) - host.boots[0]


def since(text):
    import datetime
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")[:26].rstrip("+") + "+00:00").timestamp()


def ends(world, host, ends_at, limit):
    """The host powers itself off by the block's end."""
    off = world.off(host, limit)
    check(off <= ends_at + 5, f"{host.name} was off {off - ends_at:.1f} s after the block's end")


def three_hosts_fetch_the_agent_and_leave_at_the_blocks_end(world, artifacts):
    """three hosts at once fetch the agent, join, run jobs, drain, and power off by the block's end"""
    agent, layers = fetched(world, artifacts)
    world.configure(agent, instances=3)
    start = time.time()
    hosts = world.up(layers, ends_in=85)
    check(len(hosts) == 3, f"{len(hosts)} hosts")
    world.submit("short", 5)
    for host in hosts:
        booted_well(world, host)
    world.job("short", "SUCCEEDED")
    for host in hosts:
        ends(world, host, start + 85 + 15, 100)
        check(not world.events("interruption-notice", instance=host.instance), "AWS had to take it")
    return ", ".join(f"{timed(world, host):.1f}" for host in hosts) + " s from start to registered"


def an_image_with_the_agent_joins_and_its_agent_can_be_killed(world, artifacts):
    """a baked image joins; its agent is killed and finds its place again; the job doesn't notice"""
    agent, layers = baked(world, artifacts)
    world.configure(agent)
    [host] = world.up(layers, ends_in=100)
    booted_well(world, host)
    world.submit("long", 25)
    world.job("long", "RUNNING")
    before = host.says("systemctl", "show", "--property=MainPID", "--value", "spotblock-agent")
    host.inside("kill", "-9", before)
    until("the agent to be back", 15, lambda: host.status().get("state") == "serving")
    check(host.says("systemctl", "show", "--property=MainPID", "--value", "spotblock-agent") != before, "it never died")
    done = world.job("long", "SUCCEEDED", 40)
    check(done["attempt"] == 1, f"the job ran {done['attempt']} times")
    world.off(host, 100)
    return f"{timed(world, host):.1f} s from start to registered"


ALL = {each.__name__: each for each in (
    three_hosts_fetch_the_agent_and_leave_at_the_blocks_end,
    an_image_with_the_agent_joins_and_its_agent_can_be_killed,
)}
