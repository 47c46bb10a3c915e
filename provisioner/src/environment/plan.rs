//! (wanted, there) -> ordered steps. Pure and printable; `apply.rs` makes no choices of its own.

use serde::Serialize;
use serde_json::Value;

use crate::environment::desired::{Choice, Desired, Scheduler};
use crate::environment::observe::Observed;
use crate::environment::policy;
use crate::model::batch::{ComputeEnvironment, Queue};
use crate::model::change::Change;
use crate::model::error::{Error, Result};
use crate::model::job_definition::JobDefinition;

/// What is to happen to a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// It is right.
    Keep,
    /// It isn't there.
    Create,
    /// It differs.
    Change {
        /// In these fields.
        changes: Vec<Change>,
    },
    /// It differs in a way that can't or must not be changed.
    Refuse {
        /// Why.
        why: String,
        /// What to do.
        next: String,
    },
}

/// What `apply` does for a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Nothing.
    Nothing,
    /// Make Batch's service role, or what of it is missing.
    ServiceRole(String),
    /// Create the compute environment.
    CreateEnvironment,
    /// Enable it and give it the service role.
    UpdateEnvironment,
    /// Create the queue.
    CreateQueue,
    /// Enable it and set its priority.
    UpdateQueue,
    /// Register a job definition.
    Register(Box<JobDefinition>),
    /// Make the instances' role and profile, or what of them is missing.
    InstanceProfile(String),
    /// Make the role of schedules, or what of it is missing.
    SchedulerRole(String),
    /// Make the group that schedules are in.
    ScheduleGroup(String),
    /// Buy a block.
    StartBlock,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Step {
    /// Which of the eight steps it belongs to.
    pub step: u8,
    /// What kind of resource.
    pub resource: &'static str,
    /// Its name.
    pub name: String,
    /// What is to happen to it.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// How.
    #[serde(skip)]
    pub action: Action,
}

impl Step {
    fn new(step: u8, resource: &'static str, name: &str, verdict: Verdict, action: Action) -> Self {
        Self { step, resource, name: name.to_owned(), verdict, action }
    }

    fn keep(step: u8, resource: &'static str, name: &str) -> Self {
        Self::new(step, resource, name, Verdict::Keep, Action::Nothing)
    }
}

/// The steps, in the order in which they are done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
}

impl Plan {
    /// Whether there is anything to do.
    #[must_use]
    pub(crate) fn has_changes(&self) -> bool {
        self.steps.iter().any(|step| step.verdict != Verdict::Keep)
    }

    /// The plan, if nothing in it is refused.
    ///
    /// # Errors
    /// [`Error::state`] with the first step that is.
    pub(crate) fn possible(self) -> Result<Self> {
        let refused = self.steps.iter().find_map(|step| match &step.verdict {
            Verdict::Refuse { why, next } => {
                Some(Error::state(format!("{} {} {why}", step.resource, step.name), next.clone()))
            }
            _ => None,
        });
        refused.map_or(Ok(self), Err)
    }
}

/// The steps around a block.
#[must_use]
pub(crate) fn environment(desired: &Desired, observed: &Observed) -> Plan {
    let mut steps = vec![
        service_role(desired, observed),
        compute_environment(desired, observed),
        queue(desired, observed),
    ];
    steps.extend(desired.definitions.iter().map(|wanted| definition(wanted, observed)));
    steps.push(profile(desired, observed));
    if let Some(wanted) = &desired.scheduler {
        steps.push(schedule_group(desired, wanted, observed));
        steps.push(scheduler_role(desired, wanted, observed));
    }
    Plan { steps }
}

/// The step of the block itself: `live` is the record of the one that goes on, `next` the name of
/// the next one's.
#[must_use]
pub(crate) fn block(live: Option<&str>, next: &str) -> Step {
    match live {
        Some(name) => Step::keep(8, "block", name),
        None => Step::new(8, "block", next, Verdict::Create, Action::StartBlock),
    }
}

impl Step {
    /// The same step of a block that would cost too much.
    #[must_use]
    pub(crate) fn too_dear(self, refusal: Option<(String, String)>) -> Self {
        match refusal {
            Some((why, next)) => {
                Self { verdict: refuse(why, next), action: Action::Nothing, ..self }
            }
            None => self,
        }
    }
}

fn change(field: &str, from: impl ToString, to: impl ToString) -> Change {
    Change { field: field.to_owned(), from: from.to_string(), to: to.to_string() }
}

fn refuse(why: impl Into<String>, next: impl Into<String>) -> Verdict {
    Verdict::Refuse { why: why.into(), next: next.into() }
}

fn service_role(desired: &Desired, observed: &Observed) -> Step {
    const KIND: &str = "service role";
    match &desired.service_role {
        Choice::Existing(name) => Step::keep(4, KIND, name),
        Choice::Made(name) => {
            let action = Action::ServiceRole(name.clone());
            match &observed.service_role {
                None => Step::new(4, KIND, name, Verdict::Create, action),
                Some(role) if observed.service_policy || !desired.marks().are_on(&role.tags) => {
                    Step::keep(4, KIND, name)
                }
                Some(_) => {
                    let changes = vec![change("policy", "missing", "AWSBatchServiceRole")];
                    Step::new(4, KIND, name, Verdict::Change { changes }, action)
                }
            }
        }
    }
}

fn compute_environment(desired: &Desired, observed: &Observed) -> Step {
    const KIND: &str = "compute environment";
    let step = |verdict, action| Step::new(1, KIND, &desired.environment, verdict, action);
    let Some(has) = &observed.environment else {
        return step(Verdict::Create, Action::CreateEnvironment);
    };
    if let Some(refusal) = unusable(has) {
        return step(refusal, Action::Nothing);
    }
    let mut changes = Vec::new();
    if has.state != "ENABLED" {
        changes.push(change("state", &has.state, "ENABLED"));
    }
    if let Some(role) = &observed.service_role
        && has.service_role != role.arn
    {
        changes.push(change("serviceRole", &has.service_role, &role.arn));
    }
    if changes.is_empty() {
        return Step::keep(1, KIND, &desired.environment);
    }
    if !desired.marks().are_on(&has.tags) {
        let fields: Vec<_> = changes
            .iter()
            .map(|it| format!("{} is {}, not {}", it.field, it.from, it.to))
            .collect();
        let next = "change it by hand, or give another [environment] name";
        return step(
            refuse(format!("was not made by spotblock, and its {}", fields.join(", its ")), next),
            Action::Nothing,
        );
    }
    step(Verdict::Change { changes }, Action::UpdateEnvironment)
}

fn unusable(has: &ComputeEnvironment) -> Option<Verdict> {
    if has.kind != "UNMANAGED" {
        let next = "give another [environment] name: the type of an environment can't be changed";
        return Some(refuse(format!("is {}: a block needs an UNMANAGED one", has.kind), next));
    }
    match has.status.as_str() {
        "INVALID" => Some(refuse(
            format!("is INVALID: {}", has.reason),
            "repair what Batch names, or remove it with `spotblock down --all` and run \
             `spotblock up` again",
        )),
        "DELETING" => Some(refuse(
            "is being deleted",
            "run the same command again when it is gone, in a minute or two",
        )),
        _ => None,
    }
}

fn queue(desired: &Desired, observed: &Observed) -> Step {
    const KIND: &str = "job queue";
    let step = |verdict, action| Step::new(2, KIND, &desired.queue, verdict, action);
    let Some(has) = &observed.queue else { return step(Verdict::Create, Action::CreateQueue) };
    if let Some(refusal) = unusable_queue(has, desired) {
        return step(refusal, Action::Nothing);
    }
    let mut changes = Vec::new();
    if has.state != "ENABLED" {
        changes.push(change("state", &has.state, "ENABLED"));
    }
    if has.priority != desired.priority {
        changes.push(change("priority", has.priority, desired.priority));
    }
    if changes.is_empty() {
        return Step::keep(2, KIND, &desired.queue);
    }
    if !desired.marks().are_on(&has.tags) {
        let fields: Vec<_> = changes
            .iter()
            .map(|it| format!("{} is {}, not {}", it.field, it.from, it.to))
            .collect();
        let next = "change it by hand, or give another queue in [environment]";
        return step(
            refuse(format!("was not made by spotblock, and its {}", fields.join(", its ")), next),
            Action::Nothing,
        );
    }
    step(Verdict::Change { changes }, Action::UpdateQueue)
}

fn unusable_queue(has: &Queue, desired: &Desired) -> Option<Verdict> {
    if has.environments != [desired.environment.clone()] {
        let bound = has.environments.join(", ");
        let next = "give another queue in [environment], or bind it to this compute environment \
                    alone by hand";
        return Some(refuse(
            format!("is bound to {bound}, not to {} alone", desired.environment),
            next,
        ));
    }
    match has.status.as_str() {
        "INVALID" => {
            let next = "repair what Batch names, or remove it with `spotblock down --all`";
            Some(refuse(format!("is INVALID: {}", has.reason), next))
        }
        "DELETING" => Some(refuse(
            "is being deleted",
            "run the same command again when it is gone, in a minute or two",
        )),
        _ => None,
    }
}

fn definition(wanted: &JobDefinition, observed: &Observed) -> Step {
    const KIND: &str = "job definition";
    let mut wanted = wanted.clone();
    if let Some(arn) = wanted.job_role.as_ref().and_then(|role| observed.job_roles.get(role)) {
        wanted.job_role = Some(arn.clone());
    }
    let name = wanted.name.clone();
    match observed.definitions.get(&name) {
        None => Step::new(3, KIND, &name, Verdict::Create, Action::Register(Box::new(wanted))),
        Some(has) => {
            let changes = has.definition.changes_to(&wanted);
            if changes.is_empty() {
                Step::keep(3, KIND, &name)
            } else {
                Step::new(
                    3,
                    KIND,
                    &name,
                    Verdict::Change { changes },
                    Action::Register(Box::new(wanted)),
                )
            }
        }
    }
}

fn profile(desired: &Desired, observed: &Observed) -> Step {
    const KIND: &str = "instance profile";
    let name = match &desired.profile {
        Choice::Existing(name) => return Step::keep(4, KIND, name),
        Choice::Made(name) => name,
    };
    let action = Action::InstanceProfile(name.clone());
    let (Some(role), Some(profile)) = (&observed.instance_role, &observed.profile) else {
        return Step::new(4, KIND, name, Verdict::Create, action);
    };
    // CloudFormation can't tag profiles: one that holds our role and nothing else needs no change.
    let fits = profile.roles == [name.clone()] || desired.marks().are_on(&profile.tags);
    if !desired.marks().are_on(&role.tags) || !fits {
        let next = "name it in [block] instance-profile if it is to be used";
        return Step::new(
            4,
            KIND,
            name,
            refuse("is there, but was not made by spotblock", next),
            Action::Nothing,
        );
    }
    let mut changes = Vec::new();
    if profile.roles != [name.clone()] {
        changes.push(change("role", profile.roles.join(", "), name));
    }
    let cluster = observed.environment.as_ref().map(|it| it.cluster.as_str()).unwrap_or_default();
    let object = desired.object.as_deref();
    let right = |policy: &Value| policy::is_instance(policy, &desired.environment, cluster, object);
    if cluster.is_empty() || !observed.instance_policy.as_ref().is_some_and(right) {
        changes.push(change("policy", "differs", "the agent's needs on the environment's cluster"));
    }
    if changes.is_empty() {
        return Step::keep(4, KIND, name);
    }
    Step::new(4, KIND, name, Verdict::Change { changes }, action)
}

fn schedule_group(desired: &Desired, wanted: &Scheduler, observed: &Observed) -> Step {
    const KIND: &str = "schedule group";
    let step = |verdict, action| Step::new(4, KIND, &wanted.group, verdict, action);
    match &observed.schedule_group {
        None => step(Verdict::Create, Action::ScheduleGroup(wanted.group.clone())),
        Some(group) if !desired.marks().are_on(&group.tags) => {
            let next = "give another [environment] name, or do without with [environment] \
                        schedules = false";
            step(refuse("is there, but was not made by spotblock", next), Action::Nothing)
        }
        Some(group) if !group.active => step(
            refuse("is being deleted", "run the same command again when it is gone, in a minute"),
            Action::Nothing,
        ),
        Some(_) => Step::keep(4, KIND, &wanted.group),
    }
}

fn scheduler_role(desired: &Desired, wanted: &Scheduler, observed: &Observed) -> Step {
    const KIND: &str = "scheduler role";
    let name = match &wanted.role {
        Choice::Existing(name) => return Step::keep(4, KIND, name),
        Choice::Made(name) => name,
    };
    let action = Action::SchedulerRole(name.clone());
    let Some(role) = &observed.scheduler_role else {
        return Step::new(4, KIND, name, Verdict::Create, action);
    };
    if !desired.marks().are_on(&role.tags) {
        let next = "name it in [environment] scheduler-role if it is to be used";
        return Step::new(
            4,
            KIND,
            name,
            refuse("is there, but was not made by spotblock", next),
            Action::Nothing,
        );
    }
    // The partition and the account are in the role's own ARN.
    let partition = role.arn.split(':').nth(1).unwrap_or_default();
    let right = policy::scheduler(partition, policy::account(&role.arn), &desired.environment);
    if observed.scheduler_policy.as_ref() == Some(&right) {
        return Step::keep(4, KIND, name);
    }
    let changes = vec![change("policy", "differs", "what ends the environment's instances")];
    Step::new(4, KIND, name, Verdict::Change { changes }, action)
}

#[cfg(test)]
mod tests;
