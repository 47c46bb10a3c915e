//! What the caller of `spotblock` needs, on a workstation or in CI: held to one environment by
//! names, tags and cluster wherever AWS can hold it.

use std::collections::BTreeSet;

use node_contract::names::tag;
use serde_json::{Value, json};

use super::batch_service_policy;
use crate::environment::desired::{Buys, Choice, Desired};
use crate::model::names;

/// Where the environment is.
#[derive(Clone, Debug)]
pub(crate) struct PolicyScope<'a> {
    /// The partition.
    pub partition: &'a str,
    /// The region.
    pub region: &'a str,
    /// The account's number, or `*`.
    pub account: &'a str,
    /// The cluster's ARN, or the patterns of it while there is none.
    pub clusters: &'a [String],
}

impl PolicyScope<'_> {
    fn arn(&self, service: &str, resource: &str) -> String {
        format!("arn:{}:{service}:{}:{}:{resource}", self.partition, self.region, self.account)
    }

    fn iam(&self, resource: &str) -> String {
        format!("arn:{}:iam::{}:{resource}", self.partition, self.account)
    }

    /// A role by its name or ARN.
    fn role(&self, given: &str) -> String {
        if given.starts_with("arn:") {
            given.to_owned()
        } else {
            self.iam(&format!("role/{given}"))
        }
    }
}

fn statement(sid: &str, actions: &[&str], resource: impl Into<Value>) -> Value {
    json!({"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resource.into()})
}

fn when(mut statement: Value, condition: Value) -> Value {
    statement["Condition"] = condition;
    statement
}

/// What `env apply` and `down --all` need: environment, queue, job definitions, roles. What is
/// given by name in the settings is looked at and passed on, never changed.
#[must_use]
pub(crate) fn environment(desired: &Desired, place: &PolicyScope<'_>) -> Value {
    let mut statements = vec![look()];
    statements.extend(batch(desired, place));
    statements.extend(roles(desired, place));
    json!({"Version": "2012-10-17", "Statement": statements})
}

/// What everything else needs on top. One policy with both would be longer than IAM takes (6,144
/// characters `[V]`).
#[must_use]
pub(crate) fn blocks(desired: &Desired, place: &PolicyScope<'_>) -> Value {
    let mut statements = vec![image(place), consoles(desired, place), output(desired, place)];
    statements.extend(capacity(desired, place));
    statements.extend(capacity_blocks(desired, place));
    statements.extend(ecs(place));
    statements.extend(schedules(desired, place));
    json!({"Version": "2012-10-17", "Statement": statements})
}

/// What AWS can't hold to a resource.
fn look() -> Value {
    statement(
        "Look",
        &[
            "batch:DescribeComputeEnvironments",
            "batch:DescribeJobDefinitions",
            "batch:DescribeJobQueues",
            "batch:DescribeJobs",
            "batch:ListJobs",
            "ec2:DescribeCapacityReservations",
            "ec2:DescribeImages",
            "ec2:DescribeInstanceTypeOfferings",
            "ec2:DescribeInstanceTypes",
            "ec2:DescribeInstances",
            "ec2:DescribeKeyPairs",
            "ec2:DescribeLaunchTemplateVersions",
            "ec2:DescribeLaunchTemplates",
            "ec2:DescribeRouteTables",
            "ec2:DescribeSecurityGroups",
            "ec2:DescribeSpotInstanceRequests",
            "ec2:DescribeSpotPriceHistory",
            "ec2:DescribeSubnets",
            "ec2:DescribeVpcs",
            "pricing:GetProducts",
            "scheduler:ListScheduleGroups",
            "scheduler:ListSchedules",
        ],
        "*",
    )
}

/// The parameters that name an image: AWS's own, and those of the account.
fn image(place: &PolicyScope<'_>) -> Value {
    let amazon =
        format!("arn:{}:ssm:{}::parameter/aws/service/ecs/*", place.partition, place.region);
    statement(
        "FindTheImage",
        &["ssm:GetParameter"],
        json!([amazon, place.arn("ssm", "parameter/*")]),
    )
}

/// What the doctor reads of instances that don't join.
fn consoles(desired: &Desired, place: &PolicyScope<'_>) -> Value {
    let owned = json!({"StringEquals": {format!("aws:ResourceTag/{}", tag::ENVIRONMENT): desired.environment}});
    when(
        statement("ReadConsoles", &["ec2:GetConsoleOutput"], place.arn("ec2", "instance/*")),
        owned,
    )
}

/// What jobs wrote: where Batch puts it, and where job definitions say otherwise.
fn output(desired: &Desired, place: &PolicyScope<'_>) -> Value {
    let logs = desired
        .definitions
        .iter()
        .filter_map(|it| it.log.as_ref())
        .filter(|it| it.driver == "awslogs");
    let given = logs.filter_map(|it| it.options.get("awslogs-group")).map(String::as_str);
    let groups: BTreeSet<&str> = std::iter::once("/aws/batch/job").chain(given).collect();
    let streams = groups
        .into_iter()
        .map(|group| place.arn("logs", &format!("log-group:{group}:log-stream:*")));
    statement("ReadJobLogs", &["logs:GetLogEvents"], streams.collect::<Vec<_>>())
}

fn batch(desired: &Desired, place: &PolicyScope<'_>) -> [Value; 2] {
    let environment = place.arn("batch", &format!("compute-environment/{}", desired.environment));
    let queue = place.arn("batch", &format!("job-queue/{}", desired.queue));
    let definitions: Vec<String> = desired
        .definitions
        .iter()
        .map(|it| place.arn("batch", &format!("job-definition/{}*", it.name)))
        .collect();
    let all = |more: &[&String]| -> Vec<String> {
        definitions.iter().chain(more.iter().copied()).cloned().collect()
    };
    [
        statement(
            "KeepTheEnvironment",
            &[
                "batch:CreateComputeEnvironment",
                "batch:CreateJobQueue",
                "batch:DeleteComputeEnvironment",
                "batch:DeleteJobQueue",
                "batch:UpdateComputeEnvironment",
                "batch:UpdateJobQueue",
            ],
            json!([environment, queue]),
        ),
        statement(
            "KeepDefinitionsAndSubmit",
            &[
                "batch:DeregisterJobDefinition",
                "batch:RegisterJobDefinition",
                "batch:SubmitJob",
                "batch:TagResource",
            ],
            // A submission names the job to be as well, which has no id yet.
            all(&[&environment, &queue, &place.arn("batch", "job/*")]),
        ),
    ]
}

fn roles(desired: &Desired, place: &PolicyScope<'_>) -> Vec<Value> {
    let owned = |kind: &str| place.iam(&format!("{kind}/spotblock-{}-*", desired.environment));
    let profile = place.iam(&format!("instance-profile/{}", desired.profile.name()));
    let scheduler = desired.scheduler.as_ref().map(|it| &it.role);
    let mut passed: Vec<String> = [Some(&desired.service_role), scheduler]
        .into_iter()
        .flatten()
        .map(|choice| match choice {
            Choice::Existing(given) => place.role(given),
            Choice::Made(name) => place.role(name),
        })
        .collect();
    // A profile's role can have any name; usually it has the profile's.
    passed.push(place.role(desired.profile.name()));
    let job_roles =
        desired.definitions.iter().filter_map(|it| it.job_role.as_deref()).map(|it| place.role(it));
    let seen: Vec<String> =
        passed.iter().cloned().chain(job_roles.clone()).chain([owned("role")]).collect();
    let services = [
        "batch.amazonaws.com",
        "ec2.amazonaws.com",
        "ecs-tasks.amazonaws.com",
        "scheduler.amazonaws.com",
    ];
    vec![
        statement(
            "SeeRoles",
            &[
                "iam:GetRole",
                "iam:GetRolePolicy",
                "iam:ListAttachedRolePolicies",
                "iam:SimulatePrincipalPolicy",
            ],
            seen,
        ),
        statement(
            "KeepRoles",
            &[
                "iam:CreateRole",
                "iam:DeleteRole",
                "iam:DeleteRolePolicy",
                "iam:PutRolePolicy",
                "iam:TagRole",
            ],
            owned("role"),
        ),
        when(
            statement(
                "KeepBatchsPolicy",
                &["iam:AttachRolePolicy", "iam:DetachRolePolicy"],
                owned("role"),
            ),
            json!({"ArnEquals": {"iam:PolicyARN": batch_service_policy(place.partition)}}),
        ),
        statement("SeeTheProfile", &["iam:GetInstanceProfile"], json!([profile])),
        statement(
            "KeepTheProfile",
            &[
                "iam:AddRoleToInstanceProfile",
                "iam:CreateInstanceProfile",
                "iam:DeleteInstanceProfile",
                "iam:RemoveRoleFromInstanceProfile",
                "iam:TagInstanceProfile",
            ],
            owned("instance-profile"),
        ),
        when(
            statement(
                "PassRoles",
                &["iam:PassRole"],
                passed.into_iter().chain(job_roles).collect::<Vec<_>>(),
            ),
            json!({"StringEquals": {"iam:PassedToService": services}}),
        ),
    ]
}

/// The kinds of EC2's things that carry the environment's mark.
const MARKED: [&str; 6] = [
    "capacity-reservation",
    "fleet",
    "instance",
    "launch-template",
    "spot-instances-request",
    "volume",
];

fn capacity(desired: &Desired, place: &PolicyScope<'_>) -> Vec<Value> {
    let asked = json!({"StringEquals": {format!("aws:RequestTag/{}", tag::ENVIRONMENT): desired.environment}});
    let marked = json!({"StringEquals": {format!("aws:ResourceTag/{}", tag::ENVIRONMENT): desired.environment}});
    let profile = place.iam(&format!("instance-profile/{}", desired.profile.name()));
    let ec2 = |kinds: &[&str]| -> Vec<String> {
        kinds.iter().map(|kind| place.arn("ec2", &format!("{kind}/*"))).collect()
    };
    let images = [format!("arn:{}:ec2:{}::image/*", place.partition, place.region)];
    let used = ec2(&[
        "capacity-reservation",
        "key-pair",
        "launch-template",
        "network-interface",
        "security-group",
        "spot-instances-request",
        "subnet",
        "volume",
    ]);
    let used: Vec<String> = used.into_iter().chain(images).collect();
    vec![
        when(
            statement("Record", &["ec2:CreateLaunchTemplate"], ec2(&["launch-template"])),
            asked.clone(),
        ),
        when(
            statement(
                "KeepRecords",
                &["ec2:CreateLaunchTemplateVersion", "ec2:DeleteLaunchTemplate"],
                ec2(&["launch-template"]),
            ),
            marked.clone(),
        ),
        when(
            statement(
                "Reserve",
                &["ec2:CreateCapacityReservation"],
                ec2(&["capacity-reservation"]),
            ),
            asked.clone(),
        ),
        statement(
            "Buy",
            &["ec2:CreateFleet", "ec2:RequestSpotInstances"],
            ec2(&["fleet", "instance"]).into_iter().chain(used.iter().cloned()).collect::<Vec<_>>(),
        ),
        when(
            statement("LaunchUnderTheProfile", &["ec2:RunInstances"], ec2(&["instance"])),
            json!({"ArnEquals": {"ec2:InstanceProfile": profile}}),
        ),
        statement("LaunchWithThese", &["ec2:RunInstances"], used),
        when(statement("Mark", &["ec2:CreateTags"], ec2(&MARKED)), asked),
        // What became of a block, and where its end has moved: more tags on what carries the mark
        // already.
        when(
            statement(
                "WriteOnWhatIsMarked",
                &["ec2:CreateTags"],
                ec2(&["instance", "launch-template"]),
            ),
            marked.clone(),
        ),
        when(
            statement(
                "EndWhatIsMarked",
                &[
                    "ec2:CancelCapacityReservation",
                    "ec2:CancelSpotInstanceRequests",
                    "ec2:TerminateInstances",
                ],
                ec2(&["capacity-reservation", "instance", "spot-instances-request"]),
            ),
            marked,
        ),
    ]
}

/// Nothing where the settings have no capacity blocks. The right to buy them, which costs much at
/// once, is there only where they say how much.
fn capacity_blocks(desired: &Desired, place: &PolicyScope<'_>) -> Vec<Value> {
    let Some(buys) = &desired.capacity_blocks else { return Vec::new() };
    let reservations = place.arn("ec2", "capacity-reservation/*");
    let mut statements = vec![
        statement(
            "SeeCapacityBlocks",
            &[
                "ec2:DescribeCapacityBlockExtensionHistory",
                "ec2:DescribeCapacityBlockExtensionOfferings",
                "ec2:DescribeCapacityBlockOfferings",
                "ec2:DescribeCapacityReservations",
                "ec2:DescribeInstanceTypes",
            ],
            json!("*"),
        ),
        statement("LaunchIntoCapacityBlocks", &["ec2:RunInstances"], json!([reservations.clone()])),
    ];
    let extend = |resource: String| {
        statement("ExtendThem", &["ec2:PurchaseCapacityBlockExtension"], json!([resource]))
    };
    if let Buys::ExtensionsOf(id) = buys {
        statements.push(extend(place.arn("ec2", &format!("capacity-reservation/{id}"))));
    }
    if *buys == Buys::Yes {
        let owned = json!({"StringEquals": {format!("aws:ResourceTag/{}", tag::ENVIRONMENT): desired.environment}});
        statements.push(when(extend(reservations), owned));
        let asked = json!({"StringEquals": {format!("aws:RequestTag/{}", tag::ENVIRONMENT): desired.environment}});
        // Which kinds of resources AWS holds the purchase to is [A].
        let kinds = ["capacity-block", "capacity-reservation"]
            .map(|kind| place.arn("ec2", &format!("{kind}/*")));
        let actions = ["ec2:CreateTags", "ec2:PurchaseCapacityBlock"];
        statements.push(when(statement("BuyCapacityBlocks", &actions, kinds.to_vec()), asked));
    }
    statements
}

fn ecs(place: &PolicyScope<'_>) -> Vec<Value> {
    let default = place.arn("ecs", "cluster/default");
    let names = || place.clusters.iter().map(|cluster| cluster.rsplit('/').next().unwrap_or("*"));
    let inside = |kind: &str| {
        names().map(|name| place.arn("ecs", &format!("{kind}/{name}/*"))).collect::<Vec<_>>()
    };
    let listed: Vec<String> = place.clusters.iter().cloned().chain([default]).collect();
    vec![
        statement("SeeWhoJoined", &["ecs:ListContainerInstances"], listed),
        when(
            statement(
                "FollowAndDrain",
                &[
                    "ecs:DescribeContainerInstances",
                    "ecs:DescribeTasks",
                    "ecs:ListTasks",
                    "ecs:StopTask",
                    "ecs:UpdateContainerInstancesState",
                ],
                // ARNs hold the cluster's name since 2021 `[V]`.
                ["container-instance", "task"].map(inside).concat(),
            ),
            json!({"ArnLike": {"ecs:cluster": place.clusters}}),
        ),
    ]
}

/// Nothing where the settings want no schedules.
fn schedules(desired: &Desired, place: &PolicyScope<'_>) -> Option<Value> {
    desired.scheduler.as_ref()?;
    let group = names::schedule_group(&desired.environment);
    let resources = [format!("schedule-group/{group}"), format!("schedule/{group}/*")];
    Some(statement(
        "KeepSchedules",
        &[
            "scheduler:CreateSchedule",
            "scheduler:CreateScheduleGroup",
            "scheduler:DeleteSchedule",
            "scheduler:DeleteScheduleGroup",
            "scheduler:GetSchedule",
            "scheduler:GetScheduleGroup",
            "scheduler:ListTagsForResource",
            "scheduler:TagResource",
            "scheduler:UpdateSchedule",
        ],
        resources.map(|it| place.arn("scheduler", &it)).to_vec(),
    ))
}

#[cfg(test)]
mod tests;
