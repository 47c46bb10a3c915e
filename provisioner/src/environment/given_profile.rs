//! An instance profile that was given: whether its role may do what instances do with it. AWS's own
//! policy for container instances covers the ECS agent, and of what `spotblock-agent` does only the
//! draining.

use crate::environment::desired::{Choice, Desired};
use crate::environment::observe::Observed;
use crate::environment::policy;
use crate::session::Session;

/// What the instances can't join without.
const JOIN: [&str; 2] = ["ecs:RegisterContainerInstance", "ecs:Poll"];

/// What the agent does.
const AGENT: [&str; 7] = [
    "ecs:DescribeContainerInstances",
    "ecs:DescribeTasks",
    "ecs:ListContainerInstances",
    "ecs:ListTasks",
    "ecs:PutAttributes",
    "ecs:StopTask",
    "ecs:UpdateContainerInstancesState",
];

/// What to tell of a profile whose role lacks rights. Nothing where it was made here, or where the
/// caller may not know.
pub(crate) async fn warning(
    session: &Session<'_>,
    desired: &Desired,
    observed: &Observed,
) -> Option<String> {
    let Choice::Existing(name) = &desired.profile else { return None };
    let role = observed.profile.as_ref()?.role_arn.as_deref()?;
    let cluster =
        observed.environment.as_ref().map(|it| it.cluster.clone()).filter(|it| !it.is_empty());
    let cluster = cluster.unwrap_or_else(|| {
        to_be(role, session.aws.partition.id, &session.aws.region, &desired.environment)
    });
    let actions = [&JOIN[..], &AGENT].concat();
    // Whoever may not ask, or asks where nobody can tell, is not kept from anything by it.
    let lacking =
        session.aws.iam.denied(role, &actions, &resources(&cluster), &cluster).await.ok()?;
    say(name, &lacking)
}

fn say(profile: &str, lacking: &[String]) -> Option<String> {
    if lacking.is_empty() {
        return None;
    }
    let joins = !lacking.iter().any(|it| JOIN.contains(&it.as_str()));
    let then = if joins {
        "the agent can't see and stop tasks through ECS then, and jobs that a block's end stops \
         are run again even if they had finished"
    } else {
        "its instances can't join the cluster"
    };
    Some(format!(
        "instance profile {profile}: its role is not allowed {}: {then}. Give it what `spotblock \
         iam instance` prints, or leave [block] instance-profile out and one is made",
        lacking.join(", ")
    ))
}

/// The ARN of a cluster as Batch would make it for the environment, in the account of this role.
fn to_be(role: &str, partition: &str, region: &str, environment: &str) -> String {
    let [pattern, _] = policy::clusters(partition, region, policy::account(role), environment);
    pattern.replace('?', "0")
}

/// Something of each kind in a cluster, and the cluster itself.
fn resources(cluster: &str) -> Vec<String> {
    let inside = |kind: &str| cluster.replacen(":cluster/", &format!(":{kind}/"), 1) + "/0";
    vec![cluster.to_owned(), inside("container-instance"), inside("task")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lacking_is_named_with_what_it_leads_to() {
        assert_eq!(say("p", &[]), None);
        let agent = say("p", &["ecs:StopTask".to_owned()]).expect("a warning");
        assert!(agent.contains("is not allowed ecs:StopTask: the agent can't see"), "{agent}");
        let join =
            say("p", &["ecs:Poll".to_owned(), "ecs:StopTask".to_owned()]).expect("a warning");
        assert!(join.contains("ecs:Poll, ecs:StopTask: its instances can't join"), "{join}");
    }

    #[test]
    fn resources_are_those_of_the_cluster() {
        let cluster = to_be("arn:aws:iam::123456789012:role/r", "aws", "us-east-1", "e");
        assert!(
            cluster.starts_with("arn:aws:ecs:us-east-1:123456789012:cluster/AWSBatch-e-0000"),
            "{cluster}"
        );
        let [_, instance, task] = <[String; 3]>::try_from(resources(&cluster)).expect("three");
        assert!(
            instance.contains(":container-instance/AWSBatch-e-0000") && instance.ends_with("/0"),
            "{instance}"
        );
        assert!(task.contains(":task/AWSBatch-e-0000"), "{task}");
    }
}
