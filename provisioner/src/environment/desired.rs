//! Settings -> the resources that are wanted.

use std::collections::BTreeMap;

use node_contract::Source;
use node_contract::names::tag;

use crate::model::job_definition::JobDefinition;
use crate::model::names;
use crate::model::ownership::Marks;
use crate::settings::{AgentFrom, Settings};

/// A role or profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// The user's own, by name or ARN.
    Existing(String),
    /// One that is made, of this name.
    Made(String),
}

impl Choice {
    /// The name; for an ARN, the name in it.
    #[must_use]
    pub(crate) fn name(&self) -> &str {
        let (Self::Existing(name) | Self::Made(name)) = self;
        name.rsplit('/').next().unwrap_or(name)
    }
}

/// What schedules need that end a block's instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scheduler {
    /// The group that they are in, which is made.
    pub group: String,
    /// The role as which they call EC2.
    pub role: Choice,
}

/// Whether capacity blocks may be bought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Buys {
    /// One that is there already is used.
    No,
    /// Only extensions of this one, up to a cost.
    ExtensionsOf(String),
    /// One is bought, up to a cost, and extended.
    Yes,
}

/// The resources around a block.
#[derive(Clone, Debug)]
pub(crate) struct Desired {
    /// The compute environment's name.
    pub environment: String,
    /// Batch's service role.
    pub service_role: Choice,
    /// The queue's name.
    pub queue: String,
    /// The queue's priority.
    pub priority: i32,
    /// The job definitions.
    pub definitions: Vec<JobDefinition>,
    /// The instances' profile.
    pub profile: Choice,
    /// What schedules need; nothing where there are to be none.
    pub scheduler: Option<Scheduler>,
    /// The object in S3 from which instances fetch the agent, if they do: bucket and key.
    pub object: Option<String>,
    /// Whether capacity blocks are launched into, and whether they may be bought.
    pub capacity_blocks: Option<Buys>,
    /// Tags for everything that is made.
    pub tags: BTreeMap<String, String>,
}

impl Desired {
    /// What these settings want.
    #[must_use]
    pub(crate) fn new(settings: &Settings) -> Self {
        let environment = settings.environment.name.clone();
        let choice = |given: &Option<String>, made: String| {
            given.clone().map_or(Choice::Made(made), Choice::Existing)
        };
        let mut tags = settings.environment.tags.clone();
        tags.insert(tag::ENVIRONMENT.to_owned(), environment.clone());
        Self {
            service_role: choice(
                &settings.environment.service_role,
                names::service_role(&environment),
            ),
            queue: settings.environment.queue.clone(),
            priority: settings.environment.queue_priority,
            definitions: settings.job_definitions.clone(),
            profile: choice(&settings.block.instance_profile, names::instance_role(&environment)),
            scheduler: settings.environment.schedules.then(|| Scheduler {
                group: names::schedule_group(&environment),
                role: choice(
                    &settings.environment.scheduler_role,
                    names::scheduler_role(&environment),
                ),
            }),
            object: match &settings.agent.from {
                AgentFrom::S3 { object, .. } => Some(object.clone()),
                AgentFrom::Ami | AgentFrom::Url { .. } => None,
            },
            capacity_blocks: settings.block.sources.contains(&Source::CapacityBlock).then(
                || match (&settings.block.capacity_block, settings.block.max_cost) {
                    (_, None) => Buys::No,
                    (Some(id), Some(_)) => Buys::ExtensionsOf(id.clone()),
                    (None, Some(_)) => Buys::Yes,
                },
            ),
            tags,
            environment,
        }
    }

    /// The marks of what was made for this environment.
    #[must_use]
    pub(crate) fn marks(&self) -> Marks<'_> {
        Marks::of_environment(&self.environment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::settings;

    #[test]
    fn what_is_not_given_is_made_and_named_after_the_environment() {
        let mut settings = settings("");
        let given = Desired::new(&settings);
        assert_eq!(given.service_role, Choice::Existing("BatchServiceRole".into()));
        assert_eq!(given.profile, Choice::Existing("ecsInstanceRole".into()));
        settings.environment.service_role = None;
        settings.block.instance_profile = None;
        let made = Desired::new(&settings);
        assert_eq!(made.service_role, Choice::Made("spotblock-spot-block-test-batch".into()));
        assert_eq!(made.profile, Choice::Made("spotblock-spot-block-test-instance".into()));
        assert_eq!(made.tags[tag::ENVIRONMENT], "spot-block-test");
        assert_eq!(Choice::Existing("arn:aws:iam::1:role/service-role/R".into()).name(), "R");
    }
}
