"""IAM and STS: roles, their policies, instance profiles, and who one is."""

import json

from cloud import Cloud
from ledger import Ledger, Service

MANAGED = "arn:aws:iam::aws:policy/"


def document(**statement: object) -> dict:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow"} | statement]}


TRUST = document(Principal={"Service": "ec2.amazonaws.com"}, Action="sts:AssumeRole")
POLICY = document(Action=["ecs:StopTask", "ecs:ListTasks"], Resource="*")


def run(cloud: Cloud, ledger: Ledger) -> None:
    iam = Service(cloud, "iam", ledger)
    roles(iam)
    policies(iam)
    profiles(iam)
    deletion(iam)
    identity = Service(cloud, "sts", ledger).call("GetCallerIdentity")
    iam.check("GetCallerIdentity", identity["Account"] == "123456789012", f"{identity}")


def roles(iam: Service) -> None:
    tags = [{"Key": "block", "Value": "a b&c"}]
    trust = json.dumps(TRUST)
    made = iam.call(
        "CreateRole", RoleName="node", AssumeRolePolicyDocument=trust, Description="a node's", Path="/blocks/",
        MaxSessionDuration=7200, Tags=tags,
    )["Role"]
    iam.wait("role_exists", RoleName="node")
    iam.check("CreateRole", made["AssumeRolePolicyDocument"] == TRUST, f"trust came back as {made}")
    got = iam.call("GetRole", RoleName="node")["Role"]
    iam.check("GetRole", got == made, f"{got} instead of {made}")
    iam.call("TagRole", RoleName="node", Tags=[{"Key": "more", "Value": ""}])
    iam.call("UpdateAssumeRolePolicy", RoleName="node", PolicyDocument=trust)
    linked = iam.call("CreateServiceLinkedRole", AWSServiceName="spot.amazonaws.com")["Role"]
    iam.check("CreateServiceLinkedRole", linked["RoleName"] == "AWSServiceRoleForEC2Spot", f"{linked}")

    iam.refused("CreateRole", "EntityAlreadyExists", RoleName="node", AssumeRolePolicyDocument=trust)
    iam.refused("CreateRole", "MalformedPolicyDocument", RoleName="other", AssumeRolePolicyDocument="{")
    iam.refused("CreateRole", "ValidationError", RoleName="a b", AssumeRolePolicyDocument=trust)
    iam.refused("GetRole", "NoSuchEntity", RoleName="nobody")
    iam.refused("TagRole", "NoSuchEntity", RoleName="nobody", Tags=tags)
    iam.refused("TagRole", "InvalidInput", RoleName="node", Tags=[{"Key": "aws:a", "Value": ""}])
    many = [{"Key": f"k{number}", "Value": ""} for number in range(51)]
    iam.refused("TagRole", "LimitExceeded", RoleName="node", Tags=many)
    iam.refused("UpdateAssumeRolePolicy", "NoSuchEntity", RoleName="nobody", PolicyDocument=trust)
    iam.refused("UpdateAssumeRolePolicy", "MalformedPolicyDocument", RoleName="node", PolicyDocument="[]")
    iam.refused("CreateServiceLinkedRole", "InvalidInput", AWSServiceName="spot.amazonaws.com")


def policies(iam: Service) -> None:
    role, text = {"RoleName": "node"}, json.dumps(POLICY)
    for name in ["stop", "watch", "fetch"]:
        iam.call("PutRolePolicy", PolicyName=name, PolicyDocument=text, **role)
    names = iam.pages("ListRolePolicies", 1, at_least=3, **role)
    iam.check("ListRolePolicies", sorted(names) == ["fetch", "stop", "watch"], f"{names}")
    got = iam.call("GetRolePolicy", PolicyName="stop", **role)["PolicyDocument"]
    iam.check("GetRolePolicy", got == POLICY, f"{got} instead of {POLICY}")
    arns = [f"{MANAGED}AmazonS3ReadOnlyAccess", f"{MANAGED}service-role/AmazonEC2ContainerServiceforEC2Role"]
    for arn in arns:
        iam.call("AttachRolePolicy", PolicyArn=arn, **role)
    attached = [policy["PolicyArn"] for policy in iam.pages("ListAttachedRolePolicies", 1, **role)]
    iam.check("ListAttachedRolePolicies", sorted(attached) == sorted(arns), f"{attached}")

    source = {"PolicySourceArn": iam.call("GetRole", RoleName="ecsInstanceRole")["Role"]["Arn"]}
    results = iam.pages("SimulatePrincipalPolicy", 1, ActionNames=["ecs:Poll", "iam:CreateRole"], **source)
    decided = {it["EvalActionName"]: it["EvalDecision"] for it in results}
    iam.check("SimulatePrincipalPolicy", decided == {"ecs:Poll": "allowed", "iam:CreateRole": "implicitDeny"}, f"{decided}")
    gone = {"PolicySourceArn": f"{source['PolicySourceArn']}-gone", "ActionNames": ["ecs:Poll"]}
    iam.refused("SimulatePrincipalPolicy", "NoSuchEntity", **gone)

    nobody = {"RoleName": "nobody"}
    iam.refused("PutRolePolicy", "NoSuchEntity", PolicyName="stop", PolicyDocument=text, **nobody)
    iam.refused("PutRolePolicy", "MalformedPolicyDocument", PolicyName="stop", PolicyDocument="{}", **role)
    long = json.dumps(document(Action="s3:GetObject", Resource=["x" * 10_500]))
    iam.refused("PutRolePolicy", "LimitExceeded", PolicyName="long", PolicyDocument=long, **role)
    iam.refused("GetRolePolicy", "NoSuchEntity", PolicyName="none", **role)
    iam.refused("DeleteRolePolicy", "NoSuchEntity", PolicyName="none", **role)
    iam.refused("ListRolePolicies", "NoSuchEntity", **nobody)
    iam.refused("ListAttachedRolePolicies", "NoSuchEntity", **nobody)
    iam.refused("AttachRolePolicy", "NoSuchEntity", PolicyArn=f"{MANAGED}Nothing", **role)
    iam.refused("DetachRolePolicy", "NoSuchEntity", PolicyArn=f"{MANAGED}Nothing", **role)


def profiles(iam: Service) -> None:
    for name in ["node-a", "node-b"]:
        made = iam.call("CreateInstanceProfile", InstanceProfileName=name)["InstanceProfile"]
        iam.wait("instance_profile_exists", InstanceProfileName=name)
        iam.call("AddRoleToInstanceProfile", InstanceProfileName=name, RoleName="node")
    profile = {"InstanceProfileName": made["InstanceProfileName"]}
    got = iam.call("GetInstanceProfile", **profile)["InstanceProfile"]
    iam.check("GetInstanceProfile", [role["RoleName"] for role in got["Roles"]] == ["node"], f"{got}")
    iam.pages("ListInstanceProfilesForRole", 1, RoleName="node")

    nobody = {"InstanceProfileName": "nobody"}
    iam.refused("CreateInstanceProfile", "EntityAlreadyExists", **profile)
    iam.refused("AddRoleToInstanceProfile", "LimitExceeded", RoleName="node", **profile)
    iam.refused("AddRoleToInstanceProfile", "NoSuchEntity", RoleName="node", **nobody)
    iam.refused("RemoveRoleFromInstanceProfile", "NoSuchEntity", RoleName="nobody", **profile)
    iam.refused("GetInstanceProfile", "NoSuchEntity", **nobody)
    iam.refused("DeleteInstanceProfile", "NoSuchEntity", **nobody)
    iam.refused("DeleteInstanceProfile", "DeleteConflict", **profile)
    iam.refused("ListInstanceProfilesForRole", "NoSuchEntity", RoleName="nobody")


def deletion(iam: Service) -> None:
    """AWS wants a role emptied, in any order, before it goes."""
    role = {"RoleName": "node"}
    iam.refused("DeleteRole", "DeleteConflict", **role)
    for profile in iam.call("ListInstanceProfilesForRole", **role)["InstanceProfiles"]:
        name = {"InstanceProfileName": profile["InstanceProfileName"]}
        iam.call("RemoveRoleFromInstanceProfile", **name, **role)
        iam.call("DeleteInstanceProfile", **name)
    iam.refused("DeleteRole", "DeleteConflict", **role)
    for policy in iam.call("ListAttachedRolePolicies", **role)["AttachedPolicies"]:
        iam.call("DetachRolePolicy", PolicyArn=policy["PolicyArn"], **role)
    iam.refused("DeleteRole", "DeleteConflict", **role)
    for name in iam.call("ListRolePolicies", **role)["PolicyNames"]:
        iam.call("DeleteRolePolicy", PolicyName=name, **role)
    iam.call("DeleteRole", **role)
    iam.refused("DeleteRole", "NoSuchEntity", **role)
