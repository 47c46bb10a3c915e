//! The environment as a CloudFormation template: what `env apply` makes, from the same [`Desired`].
//! Pure.
//!
//! Two things are not as `env apply` makes them, since CloudFormation can't:
//! - the ECS cluster behind a compute environment is no attribute of it `[V, resource
//!   specification]`, so the instance role is held to the names that Batch gives clusters of this
//!   environment ([`policy::clusters`])
//! - instance profiles take no tags `[V, resource specification]`; the role in it has them

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::environment::desired::{Choice, Desired};
use crate::environment::policy;
use crate::model::job_definition::{JobDefinition, RetryRule};
use crate::model::names;

/// What stands for the partition, region and account until CloudFormation knows them. No name has
/// braces.
const PSEUDO: [(&str, &str); 3] = [
    ("{partition}", "${AWS::Partition}"),
    ("{region}", "${AWS::Region}"),
    ("{account}", "${AWS::AccountId}"),
];

/// The template. `arns` has the roles that the settings give by name.
#[must_use]
pub(crate) fn cloudformation(desired: &Desired, arns: &BTreeMap<String, String>) -> Value {
    // All of it is named here, so that what is new can't be forgotten.
    let Desired {
        environment,
        service_role,
        queue,
        priority,
        definitions,
        profile,
        scheduler,
        object,
        capacity_blocks: _,
        tags,
    } = desired;
    let [(partition, _), (region, _), (account, _)] = PSEUDO;
    let mut resources = Map::new();
    let mut put = |id: &str, kind: &str, properties: Value| {
        resources.insert(id.to_owned(), json!({"Type": kind, "Properties": properties}));
    };
    if let Choice::Made(name) = service_role {
        let mut role = role(name, policy::trust("batch.amazonaws.com"), tags);
        role["ManagedPolicyArns"] =
            json!([resolved(json!(policy::batch_service_policy(partition)))]);
        put("ServiceRole", "AWS::IAM::Role", role);
    }
    put(
        "ComputeEnvironment",
        "AWS::Batch::ComputeEnvironment",
        json!({
            "ComputeEnvironmentName": environment,
            "Type": "UNMANAGED",
            "State": "ENABLED",
            "ServiceRole": match service_role {
                Choice::Made(_) => json!({"Fn::GetAtt": ["ServiceRole", "Arn"]}),
                Choice::Existing(given) => json!(arn(given, arns)),
            },
            "Tags": tags,
        }),
    );
    put(
        "JobQueue",
        "AWS::Batch::JobQueue",
        json!({
            "JobQueueName": queue,
            "State": "ENABLED",
            "Priority": priority,
            "ComputeEnvironmentOrder": [{"Order": 1, "ComputeEnvironment": {"Ref": "ComputeEnvironment"}}],
            "Tags": tags,
        }),
    );
    for (id, wanted) in logical_ids(definitions).into_iter().zip(definitions) {
        put(&id, "AWS::Batch::JobDefinition", job_definition(wanted, tags, arns));
    }
    if let Choice::Made(name) = profile {
        let clusters = policy::clusters(partition, region, account, environment);
        let document = policy::instance(&clusters, object.as_deref());
        put(
            "InstanceRole",
            "AWS::IAM::Role",
            role_with(name, policy::trust("ec2.amazonaws.com"), document, tags),
        );
        let holds = json!({"InstanceProfileName": name, "Roles": [{"Ref": "InstanceRole"}]});
        put("InstanceProfile", "AWS::IAM::InstanceProfile", holds);
    }
    if let Some(scheduler) = scheduler {
        put(
            "ScheduleGroup",
            "AWS::Scheduler::ScheduleGroup",
            json!({"Name": scheduler.group, "Tags": pairs(tags)}),
        );
        if let Choice::Made(name) = &scheduler.role {
            let trust = policy::trust_schedules(partition, account, &scheduler.group);
            let document = policy::scheduler(partition, account, environment);
            put("SchedulerRole", "AWS::IAM::Role", role_with(name, trust, document, tags));
        }
    }
    json!({
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": format!("The Batch environment {environment} for spotblock's blocks, as \
                                `spotblock env apply` makes it"),
        "Resources": resources,
        "Outputs": {
            "ComputeEnvironment": {"Value": {"Ref": "ComputeEnvironment"}},
            "JobQueue": {"Value": {"Ref": "JobQueue"}},
        },
    })
}

fn arn<'a>(given: &'a str, arns: &'a BTreeMap<String, String>) -> &'a str {
    arns.get(given).map_or(given, String::as_str)
}

fn pairs(tags: &BTreeMap<String, String>) -> Vec<Value> {
    tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect()
}

fn role(name: &str, trust: Value, tags: &BTreeMap<String, String>) -> Value {
    json!({
        "RoleName": name,
        "AssumeRolePolicyDocument": resolved(trust),
        "Description": names::ROLE_DESCRIPTION,
        "Tags": pairs(tags),
    })
}

fn role_with(name: &str, trust: Value, document: Value, tags: &BTreeMap<String, String>) -> Value {
    let mut role = role(name, trust, tags);
    role["Policies"] = json!([{"PolicyName": names::POLICY, "PolicyDocument": resolved(document)}]);
    role
}

/// A document of ours with what CloudFormation fills in.
fn resolved(value: Value) -> Value {
    match value {
        Value::String(text) => {
            let filled = PSEUDO
                .iter()
                .fold(text.clone(), |text, (owned, theirs)| text.replace(owned, theirs));
            if filled == text { Value::String(text) } else { json!({"Fn::Sub": filled}) }
        }
        Value::Array(all) => all.into_iter().map(resolved).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(key, value)| (key, resolved(value))).collect()
        }
        plain => plain,
    }
}

/// Names without what logical ids can't have, told apart by a number where that leaves them equal.
fn logical_ids(definitions: &[JobDefinition]) -> Vec<String> {
    let mut taken = BTreeSet::new();
    let words = |name: &str| -> String {
        name.split(['-', '_'])
            .flat_map(|word| {
                let mut letters = word.chars();
                letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters)
            })
            .collect()
    };
    let unique = |definition: &JobDefinition| {
        let plain = format!("Job{}", words(&definition.name));
        let numbered = (2..).map(|number| format!("{plain}Number{number}"));
        let free = std::iter::once(plain.clone()).chain(numbered).find(|id| !taken.contains(id));
        let id = free.unwrap_or(plain);
        taken.insert(id.clone());
        id
    };
    definitions.iter().map(unique).collect()
}

fn job_definition(
    wanted: &JobDefinition,
    tags: &BTreeMap<String, String>,
    arns: &BTreeMap<String, String>,
) -> Value {
    let JobDefinition { name, timeout_secs, attempts, retry, .. } = wanted;
    let mut properties = json!({
        "JobDefinitionName": name,
        "Type": "container",
        "ContainerProperties": container(wanted, arns),
        "RetryStrategy": {"Attempts": attempts, "EvaluateOnExit": retry.iter().map(rule).collect::<Vec<_>>()},
        "Tags": tags,
    });
    if let Some(secs) = timeout_secs {
        properties["Timeout"] = json!({"AttemptDurationSeconds": secs});
    }
    properties
}

fn container(wanted: &JobDefinition, arns: &BTreeMap<String, String>) -> Value {
    let JobDefinition {
        image,
        vcpus,
        memory_mib,
        gpus,
        command,
        environment,
        job_role,
        mounts,
        log,
        privileged,
        init_process,
        name: _,
        timeout_secs: _,
        attempts: _,
        retry: _,
    } = wanted;
    let requirement = |kind: &str, value: u32| json!({"Type": kind, "Value": value.to_string()});
    let mut requirements = vec![requirement("VCPU", *vcpus), requirement("MEMORY", *memory_mib)];
    if *gpus > 0 {
        requirements.push(requirement("GPU", *gpus));
    }
    let mut container = json!({
        "Image": image,
        "ResourceRequirements": requirements,
        "Privileged": privileged,
        "LinuxParameters": {"InitProcessEnabled": init_process},
    });
    let mut put_some = |key: &str, list: Vec<Value>| {
        if !list.is_empty() {
            container[key] = list.into();
        }
    };
    put_some("Command", command.iter().map(|it| json!(it)).collect());
    put_some(
        "Environment",
        environment.iter().map(|(name, value)| json!({"Name": name, "Value": value})).collect(),
    );
    let named = || mounts.iter().enumerate().map(|(n, mount)| (format!("mount-{n}"), mount));
    put_some(
        "Volumes",
        named()
            .map(|(name, mount)| json!({"Name": name, "Host": {"SourcePath": mount.host}}))
            .collect(),
    );
    let point = |(name, mount): (String, &crate::model::job_definition::Mount)| json!({"SourceVolume": name, "ContainerPath": mount.container, "ReadOnly": mount.read_only});
    put_some("MountPoints", named().map(point).collect());
    if let Some(role) = job_role {
        container["JobRoleArn"] = json!(arn(role, arns));
    }
    if let Some(log) = log {
        container["LogConfiguration"] = json!({"LogDriver": log.driver, "Options": log.options});
    }
    container
}

fn rule(rule: &RetryRule) -> Value {
    let RetryRule { action, on_status_reason, on_exit_code, on_reason } = rule;
    let mut fields = Map::from_iter([("Action".to_owned(), json!(action))]);
    let patterns = [
        ("OnStatusReason", on_status_reason),
        ("OnExitCode", on_exit_code),
        ("OnReason", on_reason),
    ];
    fields.extend(
        patterns
            .into_iter()
            .filter_map(|(key, it)| it.as_ref().map(|it| (key.to_owned(), json!(it)))),
    );
    fields.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{hello_world, settings};

    #[test]
    fn what_is_given_is_not_made_and_stands_by_its_arn() {
        let desired = Desired::new(&settings(""));
        let arns = BTreeMap::from([(
            "BatchServiceRole".to_owned(),
            "arn:aws:iam::1:role/x/BatchServiceRole".to_owned(),
        )]);
        let template = cloudformation(&desired, &arns);
        let resources = template["Resources"].as_object().expect("resources");
        let ids: BTreeSet<_> = resources.keys().map(String::as_str).collect();
        let wanted =
            ["ComputeEnvironment", "JobHelloWorld", "JobQueue", "ScheduleGroup", "SchedulerRole"];
        assert_eq!(ids, BTreeSet::from(wanted));
        let role = &resources["ComputeEnvironment"]["Properties"]["ServiceRole"];
        assert_eq!(role, "arn:aws:iam::1:role/x/BatchServiceRole");
    }

    /// Catches: two job definitions of which the second takes the first one's place.
    #[test]
    fn names_that_differ_in_their_dashes_alone_keep_ids_of_their_own() {
        let named = |name: &str| JobDefinition { name: name.to_owned(), ..hello_world() };
        let ids = logical_ids(&[
            named("align-reads"),
            named("align_reads"),
            named("alignReads"),
            named("2-x"),
        ]);
        assert_eq!(ids, ["JobAlignReads", "JobAlignReadsNumber2", "JobAlignReadsNumber3", "Job2X"]);
    }

    /// Catches: what a user wrote taken for something to be filled in, in a field where nothing is.
    #[test]
    fn a_jobs_own_braces_stay_as_they_are() {
        let mut desired = Desired::new(&settings(""));
        desired.definitions[0].command =
            vec!["echo".to_owned(), "${AWS::Region} {account}".to_owned()];
        let template = cloudformation(&desired, &BTreeMap::new());
        let command =
            &template["Resources"]["JobHelloWorld"]["Properties"]["ContainerProperties"]["Command"];
        assert_eq!(*command, json!(["echo", "${AWS::Region} {account}"]));
    }
}
