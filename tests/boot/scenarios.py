"""What is shown on real systemd and real cloud-init. Each function is a scenario with a cloud of its own; its first line
says what it shows. `boot.py` runs them."""

import datetime
import hashlib
import json
import os
import pathlib
import signal
import time

from host import Failed, until
from s3 import S3


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
    check(world.get(f"hosts/{host.instance}/asked"), "it asked for no metadata")
    until("no job to be left in systemd's queue", 20,
          lambda: host.says("systemctl", "list-jobs", "--no-legend") in ("", "No jobs running."))
    state = host.says("systemctl", "is-system-running")
    check(state == "running", f"the system is {state}: {host.says('systemctl', '--failed', '--no-legend')}")
    for unit in ("spotblock-agent.service", "ecs.service", "spotblock-guard.service", "spotblock-poweroff.timer"):
        check(host.says("systemctl", "is-active", unit) == "active", f"{unit} is {host.says('systemctl', 'is-active', unit)}")
    check(host.says("systemctl", "is-enabled", "ecs.service") == "disabled", "the ECS agent is enabled beside ours")
    joined = world.events("joined", instance=host.instance)
    check(len(joined) == 1, f"registered {len(joined)} times")


def asked_with_tokens(world):
    """Whatever ran on the hosts in their whole lives, every request for metadata bore a token."""
    for host in world.hosts.values():
        asked = world.get(f"hosts/{host.instance}/asked")
        bare = [each["path"] for each in asked if each["method"] != "PUT" and not each["with-token"]]
        check(not bare, f"{host.name} asked without a token: {bare}")


def times(world):
    """From each host's start to its registration, as far as it got."""
    joined = {event["instance"]: since(event["at"]) for event in reversed(world.events("joined"))}
    hosts = [host for host in world.hosts.values() if host.instance in joined]
    return [joined[host.instance] - host.boots[0] for host in hosts]


def since(text):
    """A moment in UTC, with or without its Z and a fraction, as seconds since the epoch."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    moment = datetime.datetime.fromisoformat(whole).replace(tzinfo=datetime.timezone.utc)
    return moment.timestamp() + float(f"0.{fraction or 0}")


def ends(world, host, ends_at, limit):
    """The host powers itself off by the block's end."""
    off = world.off(host, limit)
    check(off <= ends_at + 5, f"{host.name} was off {off - ends_at:.1f} s after the block's end")


def three_hosts_fetch_the_agent_and_leave_at_the_blocks_end(world, artifacts):
    """three hosts at once fetch the agent, join, run jobs, drain, and power off by the block's end"""
    agent, layers = fetched(world, artifacts)
    world.configure(agent, instances=3)
    hosts = world.up(layers, ends_in=70)
    check(len(hosts) == 3, f"{len(hosts)} hosts")
    end = max(ends_when(host) for host in hosts)
    world.submit("short", 5)
    for host in hosts:
        booted_well(world, host)
    world.job("short", "SUCCEEDED")
    for host in hosts:
        ends(world, host, end, 100)
        check(not world.events("interruption-notice", instance=host.instance), "AWS had to take it")


def an_image_with_the_agent_joins_and_its_agent_can_be_killed(world, artifacts):
    """a baked image joins; its agent is killed and the job doesn't notice; rebooted while it drains it leaves, with no job lost"""
    agent, layers = baked(world, artifacts)
    world.configure(agent, drain_lead="45s")
    [host] = world.up(layers, ends_in=105)
    end = ends_when(host)
    booted_well(world, host)
    shows_its_boot_id(host)
    world.submit("long", 15)
    world.job("long", "RUNNING")
    before = host.says("systemctl", "show", "--property=MainPID", "--value", "spotblock-agent")
    host.inside("kill", "-9", before)
    until("the agent to be back", 15, lambda: host.status().get("state") == "serving")
    check(host.says("systemctl", "show", "--property=MainPID", "--value", "spotblock-agent") != before, "it never died")
    done = world.job("long", "SUCCEEDED", 40)
    check(done["attempt"] == 1, f"the job ran {done['attempt']} times")
    world.submit("late", 300)
    world.job("late", "RUNNING")
    state(host, "draining", limit=max(1, end - 45 + 5 - time.time()))
    host.ask("systemctl", "reboot")
    until("the second boot", 40, lambda: len(host.boots) == 2)
    ends(world, host, end, 60)
    late = [event for event in world.events("job", name="late") if event["attempt"] == 1 and event["exit-code"] is not None]
    check(late and late[-1]["exit-code"] == 143, f"the job did not end by SIGTERM: {late}")
    check(since(late[-1]["at"]) < host.boots[1], "ECS learnt of the job's end after the reboot alone")
    check(world.events("job", name="late")[-1]["status"] != "FAILED", "the job that the reboot stopped is lost")
    check("ACTIVE" not in statuses(world, host)[1:], f"it took tasks again: {statuses(world, host)}")
    check(len(host.boots) == 2, f"{len(host.boots)} boots")


def shows_its_boot_id(host):
    """Why `host.py` takes ProtectProc= away: nspawn gives a host a boot id of its own by a mount over that one file, which a
    proc that is mounted anew, as ProtectProc= has it, doesn't show: there is this machine's, the same after each boot. On
    a machine of its own the kernel's is the only one, and ProtectProc= changes nothing."""
    path = "proc/sys/kernel/random/boot_id"
    machines = pathlib.Path("/", path).read_text()
    check(host.read(path) not in ("", machines), "the host has no boot id of its own")
    protected = host.inside("systemd-run", "--quiet", "--wait", "--pipe", "--property=ProtectProc=invisible", "cat", f"/{path}")
    check(protected.stdout == machines, "ProtectProc= leaves the host its boot id: host.py needn't take it away")


def state(host, *wanted, limit=20):
    return until(f"the agent to be {' or '.join(wanted)}", limit, lambda: host.status().get("state") in wanted)


def statuses(world, host):
    return [event["status"] for event in world.events("container-instance-status", instance=host.instance)]


def a_job_that_a_power_failure_cuts_runs_again(world, artifacts):
    """power fails in mid-block: the agent finds its place, ECS hears of the job that was cut, and it runs again to its end"""
    agent, layers = fetched(world, artifacts)
    world.configure(agent)
    # Far from the drain: a host that drains gets no job, nor one that is to run again.
    [host] = world.up(layers, ends_in=600)
    world.submit("cut", 8)
    world.job("cut", "RUNNING")
    host.reset()
    state(host, "serving", limit=30)
    # Docker's code for a container whose host went down under it.
    until("ECS to hear of the job that was cut off", 20,
          lambda: [event for event in world.events("job", name="cut") if event["exit-code"] == 255])
    done = world.job("cut", "SUCCEEDED", 40)
    check(done["attempt"] == 2, f"it took {done['attempt']} attempts")
    check(host.status()["state"] == "serving", "its host took its leave of the block")
    came_back(world, host, boots=2)


def a_host_whose_power_fails_while_it_drains_comes_back_to_its_place(world, artifacts):
    """power fails while a host drains: it drains on, takes no job any more, and the block's end holds"""
    agent, layers = fetched(world, artifacts)
    world.configure(agent)
    [host] = world.up(layers, ends_in=60)
    end = ends_when(host)
    world.submit("long", 300)
    world.job("long", "RUNNING")
    state(host, "draining", limit=max(1, end - 25 + 5 - time.time()))
    host.reset()
    state(host, "draining", "stopping", "leaving", limit=30)
    ends(world, host, end, 60)
    check("ACTIVE" not in statuses(world, host)[1:], f"it took tasks again: {statuses(world, host)}")
    came_back(world, host, boots=2)


def came_back(world, host, boots):
    check(len(host.boots) == boots, f"{len(host.boots)} boots")
    check(len(world.events("joined", instance=host.instance)) == 1, "it registered anew")
    # User data is for the first boot alone, and the script is through.
    check(host.read("var/log/cloud-init-output.log").count("enabled") <= 1, "the script ran again")


def ends_when(host, limit=10):
    """The block's end, as the agent has it."""
    return until("the agent's word of its end", limit, lambda: "timeline" in (life := host.status()) and since(life["timeline"]["end"]))


def tasks_are_stopped_when_somebody_takes_the_host_down(world, artifacts):
    """a reboot and a power-off from outside with tasks running: the guard stops them and ECS knows it in time"""
    agent, layers = baked(world, artifacts)
    world.configure(agent, instances=2)
    hosts = world.up(layers, ends_in=300)
    for name in ("one", "two"):
        world.submit(name, 300)
    running = [world.job(name, "RUNNING") for name in ("one", "two")]
    check(len({event["instance"] for event in running}) == 2, "the jobs are on one host")
    rebooted, off = hosts
    # What the hypervisor does to guests that are to boot again and to go down in order: their process 1 is told.
    os.kill(int(rebooted.leader()), signal.SIGINT)
    off.nspawn.terminate()
    asked = time.time()
    world.off(off, 40)
    took = off.ended - asked
    # It was drained, so that its place in the block is over: it boots, finds that, and leaves.
    world.off(rebooted, 60)
    check(len(rebooted.boots) == 2, f"{len(rebooted.boots)} boots")
    calls = [call for call in world.get("calls") if call["operation"] == "StopTask" and call["status"] == 200]
    for host, event in zip((rebooted, off), sorted(running, key=lambda event: event["instance"] != rebooted.instance)):
        name = event["name"]
        stops = [call for call in calls if host.instance in json.dumps(call)]
        check(len(stops) == 1, f"StopTask for {name}'s task: {len(stops)}")
        check(stops[0]["parameters"]["reason"].startswith(f"Host EC2 (instance {host.instance})"), str(stops[0]))
        again = [each for each in world.events("job", name=name) if each["attempt"] == 1 and each["exit-code"] is not None]
        check(again and again[-1]["exit-code"] == 143, f"{name} did not end by SIGTERM: {again}")
        gone = world.events("gone", instance=host.instance)[0]["at"]
        check(again[-1]["at"] < gone, "ECS learnt of it from the host's end")
        check("DRAINING" in statuses(world, host), "it was not drained")
    return f"the power-off took {took:.1f} s"


def an_extended_block_lives_past_its_old_end(world, artifacts):
    """on-demand, where nobody but us ends the block: extended by a tag it lives past its old end, its timer too, and ends"""
    agent, layers = baked(world, artifacts)
    world.configure(agent, source="on-demand", duration="15m")
    # Fourteen of its minutes are over already.
    world.post("options", json.dumps({"launched-ago": "PT825S"}).encode(), method="PATCH")
    [host] = world.up(layers, ends_in=None)
    booted_well(world, host)
    old = ends_when(host)
    new = old + 25
    text = datetime.datetime.fromtimestamp(new, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    world.tag(host.instance, "spotblock:end", text)
    until("the agent to see it", 40, lambda: abs(ends_when(host) - new) < 2)
    until("ECS to show that it was accepted", 20, lambda: [
        call for call in world.get("calls") if call["operation"] == "PutAttributes" and call["status"] == 200])
    timer = ("systemctl", "show", "--property=NextElapseUSecRealtime", "--value", "spotblock-poweroff.timer")
    moment = until("the timer to be moved", 20, lambda: f"{datetime.datetime.utcfromtimestamp(int(new) + 120):%H:%M:%S}"
                   in host.says(*timer) and host.says(*timer))
    world.submit("late", 5)
    world.job("late", "SUCCEEDED", 40)
    time.sleep(max(0, old - 25 + 3 - time.time()))
    check(host.status()["state"] == "serving", "it drained by its old end")
    ends(world, host, new, new - time.time() + 10)
    check(host.ended > old, "it was off before its old end")
    return f"the timer was moved to {moment}"


def a_broken_agent_cannot_keep_its_host_alive(world, artifacts):
    """after a reboot the agent doesn't start any more: the power-off timer ends the host two minutes after its block"""
    agent, layers = baked(world, artifacts)
    world.configure(agent, drain_lead="10s", stop_lead="6s")
    [host] = world.up(layers, ends_in=30)
    end = ends_when(host)
    host.write("usr/bin/spotblock-agent", "#!/bin/sh\nexit 1\n", 0o755)
    host.reset()
    # AWS would take a spot block's instance at about the same time; this one it forgets.
    host.is_forgotten = True
    off = until(f"{host.name} to be off", 30 + 120 + 30, lambda: host.ended)
    late = off - end
    check("Powers this host off after the end of its block" in host.journal(), "it wasn't the timer's service")
    check(120 - 5 <= late <= 120 + 20, f"the host was off {late:.0f} s after the block's end")
    check(len(host.boots) == 2, f"{len(host.boots)} boots")
    return f"off {late:.0f} s after the block's end"


def never_fetched(world, artifacts, settings, reason, limit):
    world.configure(settings)
    brings = world.bring([artifacts.base], ends_in=600)
    host = until("a launch", 40, lambda: next(iter(world.hosts.values()), None))
    world.off(host, limit)
    brings.terminate()
    # What EC2's console output shows.
    console = host.console.read_text(errors="replace")
    check(f"spotblock: {reason}" in console and ": powering off" in console, f"the console says: {console[-600:]}")
    check(not world.events("joined"), "it joined a cluster")
    timer = host.read("etc/systemd/system/spotblock-poweroff.timer")
    moment = next(line for line in timer.splitlines() if line.startswith("OnCalendar="))
    at = since(moment.removeprefix("OnCalendar=").removesuffix(" UTC").replace(" ", "T"))
    check(abs(at - host.boots[0] - 3720) < 60, f"the timer was armed for {moment}")
    check("Started spotblock-poweroff.timer" in host.journal(), "the timer was never started")
    check(len(host.boots) == 1, f"{len(host.boots)} boots")
    return f"off after {host.ended - host.boots[0]:.0f} s"


def a_host_that_cannot_fetch_its_agent_powers_off(world, artifacts):
    """the agent's tarball isn't where it should be: tried for a minute, then said on the console, and off"""
    missing = f'{{ url = "http://172.31.32.1:5599/artifacts/missing.tar.gz", sha256 = "{"0" * 64}" }}'
    return never_fetched(world, artifacts, missing, "can't fetch http://172.31.32.1:5599/artifacts/missing.tar.gz", 110)


def a_host_that_fetches_something_else_powers_off(world, artifacts):
    """what was fetched has another SHA-256: said on the console, nothing of it is installed, and off"""
    settings = f'{{ url = "{world.put_artifact(artifacts.tarball)}", sha256 = "{"0" * 64}" }}'
    said = never_fetched(world, artifacts, settings, "http://172.31.32.1:5599/artifacts/", 60)
    [host] = world.hosts.values()
    check(not (host.root / "usr/bin/spotblock-agent").exists(), "it was installed")
    return said


def a_fetch_that_a_power_failure_cuts_goes_on_at_the_next_boot(world, artifacts):
    """power fails while the agent is fetched: the next boot fetches it, although user data runs on the first boot only"""
    agent, layers = fetched(world, artifacts)
    world.configure(agent)
    fault = {"service": "s3", "operation": "GetObject", "count": 1, "effect": {"hang": {"secs": 40}}}
    world.post("faults", json.dumps(fault).encode())
    brings = world.bring(layers, ends_in=600)
    host = until("a launch", 40, lambda: next(iter(world.hosts.values()), None))
    until("the fetch", 30, lambda: [call for call in world.get("calls") if call["operation"] == "GetObject"])
    host.reset()
    check(brings.wait(60) == 0, "`spotblock up` failed")
    booted_well(world, host)
    check(not (host.root / "var/lib/cloud/scripts/per-boot/spotblock").is_symlink(), "it would be fetched at each boot")


def user_data_is_merged_with_the_users_own(world, artifacts):
    """MIME: the user's own cloud-config beside ours; both are done, and cloud-init has nothing to warn of"""
    agent, layers = fetched(world, artifacts)
    (world.folder / "own.yaml").write_text(
        "#cloud-config\nwrite_files:\n  - path: /etc/own\n    content: mine\nruncmd:\n  - [touch, /etc/ran]\n")
    world.configure(agent, more='extra-user-data = "own.yaml"')
    [host] = world.up(layers, ends_in=600)
    booted_well(world, host)
    check(host.read("etc/own") == "mine" and (host.root / "etc/ran").exists(), "the user's own part was not done")
    check("MIME-Version: 1.0" in host.says("cat", "/var/lib/cloud/instance/user-data.txt"), "it was no MIME message")
    schema = host.inside("cloud-init", "schema", "--system", check=False)
    check(schema.returncode == 0, f"cloud-init schema: {schema.stdout}{schema.stderr}")


def an_agent_comes_from_s3_as_the_instances_role(world, artifacts):
    """the agent comes from S3, signed with the credentials of the instance's role, by nothing but curl"""
    def secret_of(key):
        # As the local cloud's metadata service gives them out.
        names = [host.instance.removeprefix("i-").upper() for host in world.hosts.values()]
        [name] = [name for name in names if key.endswith(name)]
        return f"local-cloud-secret-of-{name}", f"local-cloud-session-of-{name}"

    content = artifacts.tarball.read_bytes()
    s3 = S3(("172.31.32.1", 9000), {"/artifacts/agent/x.tar.gz": content}, secret_of)
    digest = hashlib.sha256(content).hexdigest()
    world.configure(f'{{ s3 = "s3://artifacts/agent/x.tar.gz", endpoint = "http://172.31.32.1:9000", sha256 = "{digest}" }}')
    try:
        [host] = world.up([artifacts.base], ends_in=600)
    except Failed as error:
        raise Failed(f"{error}; S3 refused: {s3.refused[:2]}") from error
    booted_well(world, host)
    check(s3.given == 1 and not s3.refused, f"given {s3.given} times, refused: {s3.refused}")
    logged = host.read("var/log/cloud-init-output.log") + host.journal() + host.console.read_text(errors="replace")
    check("local-cloud-se" not in logged, "the credentials were logged")


def packages_are_upgraded_and_removed_without_touching_tasks(world, artifacts):
    """with a task running the package is upgraded, removed and purged: the task runs on, the timer stays until the purge"""
    agent, layers = baked(world, artifacts)
    world.configure(agent)
    [host] = world.up(layers, ends_in=600)
    world.submit("long", 300)
    world.job("long", "RUNNING")
    (host.root / "root/agent.deb").write_bytes(artifacts.package.read_bytes())
    pid = ("systemctl", "show", "--property=MainPID", "--value")
    before = [host.says(*pid, unit) for unit in ("spotblock-agent", "ecs", "docker")]
    host.inside("dpkg", "--install", "/root/agent.deb")
    until("the new agent", 20, lambda: host.says(*pid, "spotblock-agent") not in ("0", before[0]))
    state(host, "serving")
    # Starting ECS starts the guard too, which cancels a stop of it: a removal in the midst of that fails at nothing.
    host.inside("systemd-run", "--quiet", "sh", "-c",
                "for start in $(seq 40); do systemctl --no-block start ecs; sleep 0.05; done")
    host.inside("systemctl", "restart", "--no-block", "spotblock-agent.service")
    host.inside("dpkg", "--remove", "spotblock-agent")
    check(not host.status() and host.says("systemctl", "is-active", "spotblock-poweroff.timer") == "active", "removed")
    host.inside("dpkg", "--purge", "spotblock-agent")
    check(host.says("systemctl", "is-active", "spotblock-poweroff.timer") != "active", "the timer is left")
    left = [path for path in ("var/lib/spotblock", "usr/bin/spotblock-agent", "etc/systemd/system/spotblock-poweroff.timer",
                              "etc/systemd/system/multi-user.target.wants/spotblock-agent.service",
                              "etc/systemd/system/ecs.service.wants/spotblock-guard.service")
            if (host.root / path).exists() or (host.root / path).is_symlink()]
    check(not left, f"left behind: {left}")
    check("ECS_CLUSTER=" in host.read("etc/ecs/ecs.config"), "it took ecs.config away")
    check([host.says(*pid, unit) for unit in ("ecs", "docker")] == before[1:], "others were restarted")
    check(world.events("job", name="long")[-1]["status"] == "RUNNING", "the task did not run on")


def the_rpms_scripts_do_the_same(world, artifacts):
    """with a task running the .rpm is installed, upgraded and removed by rpm: the task runs on, ecs.config and the timer stay"""
    agent, layers = baked(world, artifacts)
    world.configure(agent)
    [host] = world.up(layers, ends_in=600)
    world.submit("long", 300)
    world.job("long", "RUNNING")
    # The image has the .deb. Without it there is an instance whose agent was never installed.
    host.inside("dpkg", "--remove", "spotblock-agent")
    first, later = artifacts.rpms
    pid = ("systemctl", "show", "--property=MainPID", "--value")
    before = [host.says(*pid, unit) for unit in ("ecs", "docker")]
    config = host.read("etc/ecs/ecs.config")
    units = ("spotblock-agent.service", "spotblock-guard.service")
    host.rpm("--install", first)
    check([host.says("systemctl", "is-enabled", unit) for unit in units] == ["enabled"] * 2, "it enabled nothing")
    check(host.says("systemctl", "is-active", units[0]) != "active", "a first installation started the agent")
    host.inside("systemctl", "start", *units)
    state(host, "serving")
    old = host.says(*pid, units[0])
    host.rpm("--upgrade", later)
    until("the new agent", 20, lambda: host.says(*pid, units[0]) not in ("0", old))
    state(host, "serving")
    check([host.says("systemctl", "is-enabled", unit) for unit in units] == ["enabled"] * 2, "the upgrade disabled them")
    host.rpm("--erase", "spotblock-agent")
    check([host.says("systemctl", "is-active", unit) for unit in units] == ["inactive"] * 2, "something of it is active")
    check(host.says("systemctl", "is-active", "spotblock-poweroff.timer") == "active", "the timer is gone")
    left = [path for path in ("usr/bin/spotblock-agent", "etc/systemd/system/multi-user.target.wants/spotblock-agent.service",
                              "etc/systemd/system/ecs.service.wants/spotblock-guard.service")
            if (host.root / path).exists() or (host.root / path).is_symlink()]
    check(not left, f"left behind: {left}")
    check("ECS_CLUSTER=" in config and host.read("etc/ecs/ecs.config") == config, "it touched ecs.config")
    check([host.says(*pid, unit) for unit in ("ecs", "docker")] == before, "others were restarted")
    check(world.events("job", name="long")[-1]["status"] == "RUNNING", "the task did not run on")


def a_host_without_room_for_its_agent_powers_off(world, artifacts):
    """the fetched agent doesn't fit on the disk: said on the console, and off"""
    agent, _ = fetched(world, artifacts)
    world.disk = "6m"
    return never_fetched(world, artifacts, agent, "can't install http://172.31.32.1:5599/artifacts/", 60)


def a_host_whose_disk_is_full_when_it_boots_again_ends_with_its_block(world, artifacts):
    """a job has filled the disk and power fails: cloud-init breaks, no state can be saved, and the host ends with its block"""
    agent, layers = baked(world, artifacts)
    world.configure(agent, drain_lead="10s", stop_lead="6s")
    world.disk = "32m"
    [host] = world.up(layers, ends_in=50)
    end = ends_when(host)
    host.fill()
    host.reset()
    ends(world, host, end, 80)
    check("No space left on device" in host.console.read_text(errors="replace"), "there was room")
    check(len(host.boots) == 2, f"{len(host.boots)} boots")


def a_host_whose_disk_is_full_from_the_start_ends_with_its_block(world, artifacts):
    """a baked host finds no room at its first boot: it can't join and no timer is armed, and its agent ends it with its block"""
    agent, layers = baked(world, artifacts)
    world.configure(agent, drain_lead="10s", stop_lead="6s")
    world.disk = "128k"
    brings = world.bring(layers, ends_in=40)
    host = until("a launch", 40, lambda: next(iter(world.hosts.values()), None))
    end = ends_when(host, limit=35)
    check(not (host.root / "etc/systemd/system/spotblock-poweroff.timer").exists(), "there was room for a timer")
    ends(world, host, end, 60)
    check(not world.events("joined"), "it joined")
    brings.terminate()


def a_host_without_a_network_is_ended_by_its_schedule(world, artifacts):
    """a baked host boots without a network: the agent waits for IMDS, starts nothing, powers nothing off; the schedule ends it"""
    agent, layers = baked(world, artifacts)
    world.configure(agent, source="on-demand", duration="15m", schedules="true")
    # Who sets up the network is cloud-init.
    off = world.folder / "no-network/etc/cloud/cloud-init.disabled"
    off.parent.mkdir(parents=True)
    off.touch()
    # The block's end is four minutes ago: the schedule, at AWS and five minutes after the end, is a minute away.
    world.post("options", json.dumps({"launched-ago": "PT1140S"}).encode(), method="PATCH")
    brings = world.bring([world.folder / "no-network", *layers], ends_in=None)
    host = until("a launch", 40, lambda: next(iter(world.hosts.values()), None))
    status = ("systemctl", "show", "--property=StatusText", "--value", "spotblock-agent")
    until("the agent to wait for IMDS", 40, lambda: host.says(*status).startswith("waiting for IMDS: "))
    check(host.says("systemctl", "is-active", "ecs.service") == "inactive", "something started the ECS agent")
    check(not (host.root / "etc/systemd/system/spotblock-poweroff.timer").exists(), "a timer is armed, for no known end")
    gone = until("the schedule to end it", 90, lambda: world.events("gone", instance=host.instance))[0]
    fired = [event for event in world.events("schedule") if event["change"] == "fired"]
    check(gone["how"] == "terminated" and len(fired) == 1, f"it ended by {gone}; schedules: {fired}")
    check(len(host.boots) == 1 and not world.get(f"hosts/{host.instance}/asked"), "it had a network")
    brings.terminate()


# The longest first.
ALL = {each.__name__: each for each in (
    a_broken_agent_cannot_keep_its_host_alive,
    an_extended_block_lives_past_its_old_end,
    a_host_whose_power_fails_while_it_drains_comes_back_to_its_place,
    a_job_that_a_power_failure_cuts_runs_again,
    three_hosts_fetch_the_agent_and_leave_at_the_blocks_end,
    an_image_with_the_agent_joins_and_its_agent_can_be_killed,
    a_host_that_cannot_fetch_its_agent_powers_off,
    a_host_without_a_network_is_ended_by_its_schedule,
    tasks_are_stopped_when_somebody_takes_the_host_down,
    a_fetch_that_a_power_failure_cuts_goes_on_at_the_next_boot,
    packages_are_upgraded_and_removed_without_touching_tasks,
    the_rpms_scripts_do_the_same,
    a_host_whose_disk_is_full_when_it_boots_again_ends_with_its_block,
    a_host_whose_disk_is_full_from_the_start_ends_with_its_block,
    a_host_without_room_for_its_agent_powers_off,
    an_agent_comes_from_s3_as_the_instances_role,
    user_data_is_merged_with_the_users_own,
    a_host_that_fetches_something_else_powers_off,
)}
