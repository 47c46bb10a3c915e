use std::collections::BTreeMap;

use node_contract::names::tag;

use super::*;
use crate::aws::batch::Registered;
use crate::aws::iam::{Profile, Role};
use crate::aws::scheduler::ScheduleGroup;
use crate::testing::settings;

const CLUSTER: &str = "arn:aws:ecs:us-east-1:123456789012:cluster/c";
const ROLE: &str = "arn:aws:iam::123456789012:role/BatchServiceRole";

fn owned() -> BTreeMap<String, String> {
    BTreeMap::from([(tag::ENVIRONMENT.to_owned(), "spot-block-test".to_owned())])
}

fn desired() -> Desired {
    Desired::new(&settings(""))
}

/// Everything as `desired` wants it.
fn right() -> Observed {
    let desired = desired();
    let registered = |definition: &JobDefinition| Registered {
        arn: format!("{}:1", definition.name),
        revision: 1,
        definition: definition.clone(),
        tags: owned(),
    };
    Observed {
        environment: Some(ComputeEnvironment {
            name: "spot-block-test".into(),
            arn: "arn".into(),
            kind: "UNMANAGED".into(),
            state: "ENABLED".into(),
            status: "VALID".into(),
            reason: String::new(),
            service_role: ROLE.into(),
            cluster: CLUSTER.into(),
            tags: owned(),
        }),
        queue: Some(Queue {
            name: "SpotBlockQueue".into(),
            state: "ENABLED".into(),
            status: "VALID".into(),
            reason: String::new(),
            priority: 1,
            environments: vec!["spot-block-test".into()],
            tags: owned(),
        }),
        definitions: desired
            .definitions
            .iter()
            .map(|it| (it.name.clone(), registered(it)))
            .collect(),
        service_role: Some(Role { arn: ROLE.into(), tags: BTreeMap::new() }),
        profile: Some(Profile { roles: vec!["r".into()], role_arn: None, tags: BTreeMap::new() }),
        schedule_group: Some(ScheduleGroup { active: true, tags: owned() }),
        scheduler_role: Some(Role {
            arn: "arn:aws:iam::123456789012:role/spotblock-spot-block-test-scheduler".into(),
            tags: owned(),
        }),
        scheduler_policy: Some(policy::scheduler("aws", "123456789012", "spot-block-test")),
        ..Observed::default()
    }
}

fn verdicts(plan: &Plan) -> Vec<(&str, &Verdict)> {
    plan.steps.iter().map(|step| (step.resource, &step.verdict)).collect()
}

#[test]
fn a_right_environment_is_kept() {
    let plan = environment(&desired(), &right());
    assert!(!plan.has_changes(), "{plan:?}");
    assert_eq!(plan.steps.len(), 7);
}

#[test]
fn an_empty_account_gets_everything_in_the_order_that_batch_needs() {
    let mut desired = desired();
    desired.service_role = Choice::Made("spotblock-spot-block-test-batch".into());
    desired.profile = Choice::Made("spotblock-spot-block-test-instance".into());
    let plan = environment(&desired, &Observed::default());
    let kinds: Vec<&str> = plan.steps.iter().map(|step| step.resource).collect();
    let around =
        ["service role", "compute environment", "job queue", "job definition", "instance profile"];
    assert_eq!(kinds, [&around[..], &["schedule group", "scheduler role"]].concat());
    assert!(plan.steps.iter().all(|step| step.verdict == Verdict::Create), "{plan:?}");
    assert!(plan.possible().is_ok());
}

#[test]
fn drift_is_shown_by_field() {
    let mut observed = right();
    observed.environment.as_mut().expect("one").state = "DISABLED".into();
    observed.queue.as_mut().expect("one").priority = 7;
    observed.definitions.get_mut("hello-world").expect("one").definition.memory_mib = 128;
    let plan = environment(&desired(), &observed);
    let changes: Vec<(&str, &str, &str)> = plan
        .steps
        .iter()
        .filter_map(|step| match &step.verdict {
            Verdict::Change { changes } => Some(changes.iter()),
            _ => None,
        })
        .flatten()
        .map(|it| (it.field.as_str(), it.from.as_str(), it.to.as_str()))
        .collect();
    assert_eq!(
        changes,
        [("state", "DISABLED", "ENABLED"), ("priority", "7", "1"), ("memory_mib", "128", "256")]
    );
}

#[test]
fn what_cannot_or_must_not_be_changed_is_refused_with_its_reason() {
    type Spoil = fn(&mut Observed);
    let cases: [(&str, Spoil); 10] = [
        ("is MANAGED", |o| o.environment.as_mut().expect("one").kind = "MANAGED".into()),
        ("is INVALID: role is gone", |o| {
            let environment = o.environment.as_mut().expect("one");
            (environment.status, environment.reason) = ("INVALID".into(), "role is gone".into());
        }),
        ("is being deleted", |o| o.environment.as_mut().expect("one").status = "DELETING".into()),
        ("was not made by spotblock, and its state is DISABLED", |o| {
            let environment = o.environment.as_mut().expect("one");
            environment.state = "DISABLED".into();
            environment.tags.clear();
        }),
        ("is bound to other, not to spot-block-test alone", |o| {
            o.queue.as_mut().expect("one").environments = vec!["other".into()];
        }),
        ("is being deleted", |o| o.queue.as_mut().expect("one").status = "DELETING".into()),
        ("was not made by spotblock, and its priority is 5", |o| {
            let queue = o.queue.as_mut().expect("one");
            queue.priority = 5;
            queue.tags.clear();
        }),
        ("schedule group spotblock-spot-block-test is being deleted", |o| {
            o.schedule_group.as_mut().expect("one").active = false;
        }),
        ("schedule group spotblock-spot-block-test is there, but was not made by spotblock", |o| {
            o.schedule_group.as_mut().expect("one").tags.clear();
        }),
        (
            "scheduler role spotblock-spot-block-test-scheduler is there, but was not made by \
             spotblock",
            |o| {
                o.scheduler_role.as_mut().expect("one").tags.clear();
            },
        ),
    ];
    for (part, spoil) in cases {
        let mut observed = right();
        spoil(&mut observed);
        let error = environment(&desired(), &observed).possible().expect_err(part);
        assert!(error.to_string().contains(part), "{error} does not say {part:?}");
        assert!(!error.next().is_empty());
    }
}

/// Catches: somebody else's environment, made by hand, refused although it is as wanted.
#[test]
fn a_right_environment_that_was_made_by_hand_is_used() {
    let mut observed = right();
    observed.environment.as_mut().expect("one").tags.clear();
    observed.queue.as_mut().expect("one").tags.clear();
    assert!(!environment(&desired(), &observed).has_changes());
}

/// Catches: a role of schedules that kept a policy of before, and ends nothing.
#[test]
fn the_schedulers_role_gets_its_policy_back_and_is_not_made_where_none_is_wanted() {
    let mut observed = right();
    observed.scheduler_policy = None;
    let plan = environment(&desired(), &observed);
    assert!(matches!(verdicts(&plan)[6], ("scheduler role", Verdict::Change { .. })), "{plan:?}");
    let mut settings = settings("");
    settings.environment.scheduler_role = Some("mine".into());
    let plan = environment(&Desired::new(&settings), &observed);
    assert_eq!(verdicts(&plan)[6], ("scheduler role", &Verdict::Keep), "it is the user's");
    settings.environment.schedules = false;
    let plan =
        environment(&Desired::new(&settings), &Observed { schedule_group: None, ..observed });
    assert!(!plan.has_changes() && plan.steps.len() == 5, "{plan:?}");
}

#[test]
fn a_made_profile_follows_the_cluster() {
    let mut desired = desired();
    let name = "spotblock-spot-block-test-instance".to_owned();
    desired.profile = Choice::Made(name.clone());
    let mut observed = right();
    observed.instance_role = Some(Role { arn: "arn".into(), tags: owned() });
    observed.profile = Some(Profile { roles: vec![name], role_arn: None, tags: owned() });
    observed.instance_policy = Some(policy::instance(&[CLUSTER], None));
    assert!(!environment(&desired, &observed).has_changes());
    observed.instance_policy = Some(policy::instance(&[CLUSTER], None));
    observed.profile = observed.profile.map(|it| Profile { tags: BTreeMap::new(), ..it });
    assert!(!environment(&desired, &observed).has_changes(), "as a stack makes it, without tags");
    observed.profile = observed.profile.map(|it| Profile { roles: vec!["another".into()], ..it });
    let plan = environment(&desired, &observed);
    assert!(
        matches!(verdicts(&plan)[4], ("instance profile", Verdict::Refuse { .. })),
        "somebody else's: {plan:?}"
    );
    observed.profile = observed.profile.map(|it| Profile { tags: owned(), ..it });
    observed.instance_policy = Some(policy::instance(&["another"], None));
    let plan = environment(&desired, &observed);
    assert!(matches!(verdicts(&plan)[4], ("instance profile", Verdict::Change { .. })), "{plan:?}");
}

/// Catches: instances that can't join, because the stack's policy is for other names than Batch
/// gives its clusters.
#[test]
fn a_stacks_policy_is_kept_as_long_as_it_covers_the_cluster() {
    let mut desired = desired();
    let name = "spotblock-spot-block-test-instance".to_owned();
    desired.profile = Choice::Made(name.clone());
    let mut observed = right();
    observed.instance_role = Some(Role { arn: "arn".into(), tags: owned() });
    observed.profile = Some(Profile { roles: vec![name], role_arn: None, tags: BTreeMap::new() });
    let patterns = policy::clusters("aws", "us-east-1", "123456789012", "spot-block-test");
    observed.instance_policy = Some(policy::instance(&patterns, None));
    let mut kept = |cluster: &str| {
        let arn = format!("arn:aws:ecs:us-east-1:123456789012:cluster/{cluster}");
        observed.environment =
            observed.environment.clone().map(|it| ComputeEnvironment { cluster: arn, ..it });
        !environment(&desired, &observed).has_changes()
    };
    let uuid = "0b9c2f3e-1d2a-4b5c-8d7e-9f0a1b2c3d4e";
    assert!(
        kept(&format!("AWSBatch-spot-block-test-{uuid}"))
            && kept(&format!("spot-block-test_Batch_{uuid}"))
    );
    for other in [
        "c".to_owned(),
        format!("AWSBatch-spot-block-test-2-{uuid}"),
        format!("spot-block-test-{uuid}"),
    ] {
        assert!(!kept(&other), "{other}");
    }
}
