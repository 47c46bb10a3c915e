"""Batch and ECS together: an environment, its cluster, an instance that joins it, and jobs that run on it.

The scenario is its own ECS agent: it registers the instance and reports what its tasks do.
"""

import json

from cloud import Cloud
from ledger import Ledger, Service

ROLE = "arn:aws:iam::123456789012:role/BatchServiceRole"
CONTAINER = {
    "command": ["sleep", "Ref::seconds"],
    "environment": [{"name": "A", "value": "1"}],
    "image": "busybox",
    "linuxParameters": {"initProcessEnabled": True},
    "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "/aws/batch/job"}},
    "mountPoints": [{"containerPath": "/scratch", "sourceVolume": "scratch"}],
    "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "256"}],
    "volumes": [{"name": "scratch", "host": {"sourcePath": "/mnt"}}],
}
RETRIES = {
    "attempts": 3,
    "evaluateOnExit": [{"onStatusReason": "Host EC2*", "action": "RETRY"}, {"onReason": "*", "action": "EXIT"}],
}


def run(cloud: Cloud, ledger: Ledger) -> None:
    batch, ecs = Service(cloud, "batch", ledger), Service(cloud, "ecs", ledger)
    cluster = environments(batch)
    queues(batch)
    definitions(batch)
    waiting_jobs(batch)
    instances = join(ecs, cluster)
    work(batch, ecs, Service(cloud, "logs", ledger), cluster)
    leave(ecs, cluster, instances)
    deletion(batch)
    clusters(ecs)


def environments(batch: Service) -> str:
    """Gives the cluster of the first."""
    for name in ["a", "b"]:
        batch.call(
            "CreateComputeEnvironment", computeEnvironmentName=name, type="UNMANAGED", state="ENABLED",
            serviceRole=ROLE, unmanagedvCpus=16, tags={"block": "b-1"},
        )
    resources = {
        "type": "EC2", "minvCpus": 0, "maxvCpus": 4, "instanceTypes": ["c5.large"], "instanceRole": "ecsInstanceRole",
        "subnets": ["subnet-c8d30ae4"], "securityGroupIds": ["sg-55964223"],
    }
    batch.call("CreateComputeEnvironment", computeEnvironmentName="m", type="MANAGED", computeResources=resources)
    batch.call("DescribeComputeEnvironments")  # CREATING
    found = valid_environments(batch)
    batch.pages("DescribeComputeEnvironments", 1, at_least=3)
    batch.call("UpdateComputeEnvironment", computeEnvironment="b", unmanagedvCpus=32)
    batch.call("DescribeComputeEnvironments", computeEnvironments=["b"])  # UPDATING
    batch.refused("UpdateComputeEnvironment", "ClientException", computeEnvironment="b", state="DISABLED")
    batch.refused("UpdateComputeEnvironment", "ClientException", computeEnvironment="nothing")
    valid_environments(batch)

    arn = found[0]["computeEnvironmentArn"]
    batch.call("TagResource", resourceArn=arn, tags={"more": "a b"})
    batch.call("UntagResource", resourceArn=arn, tagKeys=["block", "none"])
    tags = batch.call("ListTagsForResource", resourceArn=arn)["tags"]
    batch.check("ListTagsForResource", tags == {"more": "a b"}, f"{tags}")
    unknown = {"resourceArn": f"{arn}x"}
    batch.refused("TagResource", "ClientException", tags={"a": "b"}, **unknown)
    batch.refused("UntagResource", "ClientException", tagKeys=["a"], **unknown)
    batch.refused("ListTagsForResource", "ClientException", **unknown)

    name, refused = {"computeEnvironmentName": "c"}, "CreateComputeEnvironment"
    batch.refused(refused, "ClientException", type="UNMANAGED", **name)
    batch.refused(refused, "ClientException", type="UNMANAGED", serviceRole="BatchServiceRole", **name)
    batch.refused(refused, "ClientException", type="MANAGED", serviceRole=ROLE, **name)
    batch.refused(refused, "ClientException", type="UNMANAGED", serviceRole=ROLE, computeEnvironmentName="a")
    batch.refused(refused, "ClientException", type="UNMANAGED", serviceRole=ROLE, computeEnvironmentName="a b")
    batch.refused("DeleteComputeEnvironment", "ClientException", computeEnvironment="a")
    return found[0]["ecsClusterArn"]


def valid_environments(batch: Service) -> list[dict]:
    def valid(answer: dict) -> bool:
        return all(one["status"] == "VALID" for one in answer["computeEnvironments"])

    return batch.until("DescribeComputeEnvironments", valid)["computeEnvironments"]


def queues(batch: Service) -> None:
    order = [{"order": 1, "computeEnvironment": "a"}]
    for name in ["q", "r"]:
        batch.call("CreateJobQueue", jobQueueName=name, priority=1, computeEnvironmentOrder=order, tags={"k": "v"})
    batch.call("DescribeJobQueues")  # CREATING
    valid_queues(batch)
    batch.pages("DescribeJobQueues", 1)
    batch.call("UpdateJobQueue", jobQueue="r", priority=2, state="DISABLED")
    batch.refused("UpdateJobQueue", "ClientException", jobQueue="r", priority=3)
    valid_queues(batch)
    batch.refused("CreateJobQueue", "ClientException", jobQueueName="q", priority=1, computeEnvironmentOrder=order)
    nowhere = [{"order": 1, "computeEnvironment": "nothing"}]
    batch.refused("CreateJobQueue", "ClientException", jobQueueName="s", priority=1, computeEnvironmentOrder=nowhere)
    batch.refused("UpdateJobQueue", "ClientException", jobQueue="nothing", priority=1)
    batch.refused("DeleteJobQueue", "ClientException", jobQueue="q")


def valid_queues(batch: Service) -> None:
    batch.until("DescribeJobQueues", lambda answer: all(one["status"] == "VALID" for one in answer["jobQueues"]))


def definitions(batch: Service) -> None:
    definition = {
        "containerProperties": CONTAINER,
        "jobDefinitionName": "job",
        "parameters": {"seconds": "1"},
        "propagateTags": True,
        "retryStrategy": RETRIES,
        "tags": {"k": "v"},
        "timeout": {"attemptDurationSeconds": 600},
        "type": "container",
    }
    for _ in range(3):
        batch.call("RegisterJobDefinition", **definition)
    batch.call("DeregisterJobDefinition", jobDefinition="job:1")
    [found, *_] = batch.pages("DescribeJobDefinitions", 1, jobDefinitionName="job", status="ACTIVE")
    for name, value in definition.items():
        given = found.get(name)
        same = given.items() >= value.items() if isinstance(value, dict) else given == value
        batch.check("DescribeJobDefinitions", same, f"{name} came back as {given}")
    for changes in [
        {"containerProperties": CONTAINER | {"resourceRequirements": []}},
        {"jobDefinitionName": "a b"},
        {"retryStrategy": {"attempts": 11}},
        {"retryStrategy": RETRIES | {"evaluateOnExit": [{"onReason": "a-b", "action": "RETRY"}]}},
        {"timeout": {"attemptDurationSeconds": 59}},
    ]:
        batch.refused("RegisterJobDefinition", "ClientException", **(definition | changes))
    batch.refused("DeregisterJobDefinition", "ClientException", jobDefinition="job")


def waiting_jobs(batch: Service) -> None:
    """Jobs that wait for an instance, and end without one."""
    job = {"jobQueue": "q", "jobDefinition": "job"}
    first = batch.call("SubmitJob", jobName="first", **job)["jobId"]
    second = batch.call("SubmitJob", jobName="second", **job)["jobId"]
    array = batch.call("SubmitJob", jobName="array", arrayProperties={"size": 2}, **job)["jobId"]
    after = batch.call("SubmitJob", jobName="after", dependsOn=[{"jobId": first}], **job)["jobId"]
    waiting = batch.pages("ListJobs", 1, jobQueue="q", jobStatus="RUNNABLE")
    batch.check("ListJobs", [one["jobId"] for one in waiting] == [first, second], f"{waiting}")
    batch.pages("ListJobs", 1, arrayJobId=array, jobStatus="RUNNABLE")
    named = batch.call("ListJobs", jobQueue="q", filters=[{"name": "JOB_NAME", "values": ["aft*"]}])["jobSummaryList"]
    batch.check("ListJobs", [one["jobId"] for one in named] == [after], f"{named}")
    line = batch.call("GetJobQueueSnapshot", jobQueue="q")["frontOfQueue"]["jobs"]
    batch.check("GetJobQueueSnapshot", bool(line) and line[0]["jobArn"].endswith(first), f"{line}")
    batch.call("DescribeJobs", jobs=[first, array, f"{array}:0", after])

    batch.refused("SubmitJob", "ClientException", jobName="a b", **job)
    batch.refused("SubmitJob", "ClientException", jobName="a", jobQueue="r", jobDefinition="job")
    batch.refused("SubmitJob", "ClientException", jobName="a", jobQueue="q", jobDefinition="job:1")
    batch.refused("SubmitJob", "ClientException", jobName="a", dependsOn=[{"jobId": "nothing"}], **job)
    batch.refused("ListJobs", "ClientException", jobQueue="nothing")
    batch.refused("GetJobQueueSnapshot", "ClientException", jobQueue="nothing")
    for operation in ["CancelJob", "TerminateJob"]:
        batch.refused(operation, "ClientException", jobId="nothing", reason="none")
    for job_id in [first, second]:
        batch.call("CancelJob", jobId=job_id, reason="enough")
    batch.call("TerminateJob", jobId=array, reason="enough")
    ended = batch.until("DescribeJobs", over, jobs=[first, second, array, after])["jobs"]
    batch.check("DescribeJobs", {one["status"] for one in ended} == {"FAILED"}, f"{ended}")


def over(answer: dict) -> bool:
    return all(one["status"] in ("SUCCEEDED", "FAILED") for one in answer["jobs"])


def join(ecs: Service, cluster: str) -> list[str]:
    """Registers two instances as their ECS agents do."""
    ecs.call("DiscoverPollEndpoint", cluster=cluster, containerInstance="x")
    registration = {
        "attributes": [{"name": "spotblock.end", "value": "2026-11-24T11:00:00Z"}, {"name": "ecs.capability.x"}],
        "cluster": cluster,
        "tags": [{"key": "k", "value": "v"}],
        "totalResources": [
            {"name": "CPU", "type": "INTEGER", "integerValue": 2048},
            {"name": "MEMORY", "type": "INTEGER", "integerValue": 2048},
            {"name": "PORTS", "type": "STRINGSET", "stringSetValue": ["22", "51678"]},
            {"name": "GPU", "type": "STRINGSET", "stringSetValue": ["GPU-0"]},
        ],
        "versionInfo": {"agentHash": "0", "agentVersion": "1.99.0", "dockerVersion": "DockerVersion: 25"},
    }
    arns = []
    for number in range(2):
        document = json.dumps({"instanceId": f"i-0000000000000000{number}"})
        made = ecs.call("RegisterContainerInstance", instanceIdentityDocument=document, **registration)
        arns.append(made["containerInstance"]["containerInstanceArn"])
    again = ecs.call("RegisterContainerInstance", containerInstanceArn=arns[0], **registration)["containerInstance"]
    ecs.check("RegisterContainerInstance", again["containerInstanceArn"] == arns[0], f"registered again as {again}")
    found = ecs.pages("ListContainerInstances", 1, cluster=cluster, status="ACTIVE")
    ecs.check("ListContainerInstances", sorted(found) == sorted(arns), f"{found}")
    one = ecs.call("DescribeContainerInstances", cluster=cluster, containerInstances=arns[1:], include=["TAGS"])
    ecs.check("DescribeContainerInstances", one["containerInstances"][0]["agentConnected"], f"{one}")
    missing = ecs.call("DescribeContainerInstances", cluster=cluster, containerInstances=["nothing"])["failures"]
    ecs.check("DescribeContainerInstances", missing[0]["reason"] == "MISSING", f"{missing}")
    put = [{"name": "spotblock.end", "value": "2026-11-24T12:00:00Z", "targetId": arns[0]}]
    shown = ecs.call("PutAttributes", cluster=cluster, attributes=put)["attributes"]
    ecs.check("PutAttributes", shown[0]["targetId"] == arns[0], f"{shown}")
    ecs.refused("PutAttributes", "TargetNotFoundException", cluster=cluster, attributes=[{**put[0], "targetId": arns[0] + "0"}])
    # One instance is drained, so that it's known where the jobs go.
    drained = ecs.call(
        "UpdateContainerInstancesState", cluster=cluster, containerInstances=[arns[1], "nothing"], status="DRAINING"
    )
    states = [one["status"] for one in drained["containerInstances"]]
    ecs.check("UpdateContainerInstancesState", states == ["DRAINING"], f"{drained}")

    unknown = {"cluster": "nothing"}
    operation = "RegisterContainerInstance"
    ecs.refused(operation, "InvalidParameterException", cluster=cluster, instanceIdentityDocument="{")
    ecs.refused(operation, "ClusterNotFoundException", cluster="nothing", instanceIdentityDocument=document)
    ecs.refused("ListContainerInstances", "ClusterNotFoundException", **unknown)
    ecs.refused("DescribeContainerInstances", "ClusterNotFoundException", containerInstances=arns, **unknown)
    operation, many = "UpdateContainerInstancesState", [f"i{number}" for number in range(11)]
    for listed, status in [(many, "DRAINING"), (arns, "DEREGISTERING")]:
        changes = {"cluster": cluster, "containerInstances": listed, "status": status}
        ecs.refused(operation, "InvalidParameterException", **changes)
    return arns


def work(batch: Service, ecs: Service, logs: Service, cluster: str) -> None:
    """One job is stopped and tried again, one succeeds at once."""
    ids = []
    for name in ["stopped", "good"]:
        overrides = {"environment": [{"name": "B", "value": "2"}]}
        submission = {"jobName": name, "jobQueue": "q", "jobDefinition": "job", "tags": {"job": name}}
        ids.append(batch.call("SubmitJob", containerOverrides=overrides, **submission)["jobId"])
    all_are(batch, "STARTING", ids)
    tasks = ecs.pages("ListTasks", 1, cluster=cluster)
    for task in tasks:
        report(ecs, cluster, task, "RUNNING")
    ecs.wait("tasks_running", cluster=cluster, tasks=tasks)
    jobs = all_are(batch, "RUNNING", ids)
    stopped, good = [one["container"]["taskArn"] for one in jobs]

    reason = "Host EC2 (instance i-00000000000000000) block ends"
    task = ecs.call("StopTask", cluster=cluster, task=stopped, reason=reason)["task"]
    ecs.check("StopTask", (task["desiredStatus"], task["stoppedReason"]) == ("STOPPED", reason), f"{task}")
    listed = ecs.call("ListTasks", cluster=cluster, desiredStatus="STOPPED")["taskArns"]
    ecs.check("ListTasks", listed == [stopped], f"{listed}")
    container = {"cluster": cluster, "task": stopped, "containerName": "default", "status": "STOPPED", "exitCode": 143}
    ecs.call("SubmitContainerStateChange", **container)
    report(ecs, cluster, stopped, "STOPPED", 143)
    report(ecs, cluster, good, "STOPPED", 0)
    ecs.wait("tasks_stopped", cluster=cluster, tasks=[stopped, good])
    missing = ecs.call("DescribeTasks", cluster=cluster, tasks=["nothing"], include=["TAGS"])["failures"]
    ecs.check("DescribeTasks", missing[0]["reason"] == "MISSING", f"{missing}")

    again = all_are(batch, "STARTING", ids[:1])[0]
    attempt = again["attempts"][0]
    batch.check("DescribeJobs", attempt["statusReason"] == reason, f"{attempt} of a stopped task")
    [task] = ecs.call("ListTasks", cluster=cluster)["taskArns"]
    report(ecs, cluster, task, "RUNNING")
    report(ecs, cluster, task, "STOPPED", 0)
    ended = batch.until("DescribeJobs", over, jobs=ids)["jobs"]
    batch.check("DescribeJobs", {one["status"] for one in ended} == {"SUCCEEDED"}, f"{ended}")
    batch.call("ListJobs", jobQueue="q", jobStatus="SUCCEEDED")
    read_logs(logs, ended[1])

    unknown = "InvalidParameterException"
    ecs.refused("StopTask", unknown, cluster=cluster, task="nothing")
    ecs.refused("StopTask", "ClusterNotFoundException", cluster="nothing", task=good)
    ecs.refused("DescribeTasks", "ClusterNotFoundException", cluster="nothing", tasks=[good])
    ecs.refused("ListTasks", "ClusterNotFoundException", cluster="nothing")


def read_logs(service: Service, job: dict) -> None:
    """What a job's container wrote, read in pages to its end."""
    where = {"logGroupName": "/aws/batch/job", "logStreamName": job["container"]["logStreamName"]}
    first = service.call("GetLogEvents", startFromHead=True, limit=1, **where)
    service.check("GetLogEvents", len(first["events"]) == 1, f"{first}")
    rest = service.call("GetLogEvents", nextToken=first["nextForwardToken"], **where)
    service.check("GetLogEvents", rest["events"][-1]["message"].endswith("exit code 0"), f"{rest}")
    end = service.call("GetLogEvents", nextToken=rest["nextForwardToken"], **where)
    service.check("GetLogEvents", (end["events"], end["nextForwardToken"]) == ([], rest["nextForwardToken"]), f"{end}")
    back = service.call("GetLogEvents", nextToken=rest["nextBackwardToken"], **where)
    service.check("GetLogEvents", back["events"] == first["events"], f"{back}")
    service.refused("GetLogEvents", "ResourceNotFoundException", logGroupName="/aws/batch/job", logStreamName="none")
    service.refused("GetLogEvents", "ResourceNotFoundException", logGroupName="none", logStreamName="none")
    service.refused("GetLogEvents", "InvalidParameterException", nextToken="x", **where)
    service.refused("GetLogEvents", "InvalidParameterException", limit=20_000, **where)


def all_are(batch: Service, status: str, ids: list[str]) -> list[dict]:
    """Waits until all these jobs have this status, and gives them."""

    def reached(answer: dict) -> bool:
        return all(one["status"] == status for one in answer["jobs"])

    return batch.until("DescribeJobs", reached, jobs=ids)["jobs"]


def report(ecs: Service, cluster: str, task: str, status: str, exit_code: int | None = None) -> None:
    container = {"containerName": "default", "status": status, "runtimeId": "c0ffee"}
    if exit_code is not None:
        container["exitCode"] = exit_code
    ecs.call("SubmitTaskStateChange", cluster=cluster, task=task, status=status, containers=[container])


def leave(ecs: Service, cluster: str, instances: list[str]) -> None:
    ecs.refused("DeleteCluster", "ClusterContainsContainerInstancesException", cluster=cluster)
    for arn in instances:
        gone = ecs.call("DeregisterContainerInstance", cluster=cluster, containerInstance=arn)["containerInstance"]
        ecs.check("DeregisterContainerInstance", gone["status"] == "INACTIVE", f"{gone}")
    operation, arn = "DeregisterContainerInstance", instances[0]
    ecs.refused(operation, "InvalidParameterException", cluster=cluster, containerInstance=arn)
    ecs.refused(operation, "ClusterNotFoundException", cluster="nothing", containerInstance=arn)


def deletion(batch: Service) -> None:
    """In the only order that Batch takes: queues before environments, each disabled before it is deleted."""
    batch.call("UpdateJobQueue", jobQueue="q", state="DISABLED")
    for name in ["a", "b"]:
        batch.call("UpdateComputeEnvironment", computeEnvironment=name, state="DISABLED")
    valid_queues(batch)
    valid_environments(batch)
    batch.refused("DeleteComputeEnvironment", "ClientException", computeEnvironment="a")
    for name in ["q", "r"]:
        batch.call("DeleteJobQueue", jobQueue=name)
    batch.until("DescribeJobQueues", lambda answer: not answer["jobQueues"])
    for name in ["a", "b"]:
        batch.call("DeleteComputeEnvironment", computeEnvironment=name)
    batch.call("DescribeComputeEnvironments", computeEnvironments=["a"])  # DELETING
    names = {"computeEnvironments": ["a", "b"]}
    batch.until("DescribeComputeEnvironments", lambda answer: not answer["computeEnvironments"], **names)


def clusters(ecs: Service) -> None:
    tags = [{"key": "k", "value": "v"}]
    for name in ["one", "two"]:
        made = ecs.call("CreateCluster", clusterName=name, tags=tags)["cluster"]
    ecs.pages("ListClusters", 1)
    arn = made["clusterArn"]
    ecs.call("TagResource", resourceArn=arn, tags=[{"key": "more", "value": "w"}])
    ecs.call("UntagResource", resourceArn=arn, tagKeys=["k"])
    left = ecs.call("ListTagsForResource", resourceArn=arn)["tags"]
    ecs.check("ListTagsForResource", left == [{"key": "more", "value": "w"}], f"{left}")
    described = ecs.call("DescribeClusters", clusters=["two", "nothing"], include=["TAGS", "SETTINGS", "STATISTICS"])
    ecs.check("DescribeClusters", described["failures"][0]["reason"] == "MISSING", f"{described['failures']}")
    for operation, parameters in [
        ("TagResource", {"tags": tags}),
        ("UntagResource", {"tagKeys": ["k"]}),
        ("ListTagsForResource", {}),
    ]:
        ecs.refused(operation, "InvalidParameterException", resourceArn=f"{arn}-nothing", **parameters)
    ecs.refused("CreateCluster", "InvalidParameterException", clusterName="a b")
    gone = ecs.call("DeleteCluster", cluster="two")["cluster"]
    ecs.check("DeleteCluster", gone["status"] == "INACTIVE", f"{gone}")
    ecs.refused("DeleteCluster", "ClusterNotFoundException", cluster="two")
