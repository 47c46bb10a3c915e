//! EventBridge Scheduler: the schedules that end a block's instances when all else has failed. A
//! schedule has no tags; the group that it is in has, so whatever is in a group of ours is ours.

use std::collections::BTreeMap;

use aws_sdk_scheduler::Client;
use aws_sdk_scheduler::operation::get_schedule::GetScheduleOutput;
use aws_sdk_scheduler::types::{
    ActionAfterCompletion, FlexibleTimeWindow, FlexibleTimeWindowMode, RetryPolicy,
    ScheduleGroupState, Tag, Target,
};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::text;
use crate::aws::classify::failed;
use crate::model::error::{AwsErrorKind, Result};
use crate::model::ownership::Owned;

/// For how long after its moment a schedule's call is repeated where it fails in a way that may
/// pass, in seconds.
const RETRIED_FOR: i32 = 6 * 3600;
/// How often at most; AWS allows 185 `[V]`.
const RETRIES: i32 = 185;

/// The client.
pub(crate) struct Scheduler {
    client: Client,
}

/// A group of schedules.
#[derive(Clone, Debug)]
pub(crate) struct ScheduleGroup {
    /// Whether it takes schedules; it doesn't while it is being deleted.
    pub active: bool,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// A one-time schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// Its name, up to 64 characters.
    pub name: String,
    /// What it is for, in words.
    pub description: String,
    /// Its moment, in whole seconds. AWS is precise to a minute `[V]`.
    pub at: Timestamp,
    /// The ARN of what it calls.
    pub target: String,
    /// What it calls it with, in JSON.
    pub input: String,
    /// The ARN of the role that it calls as.
    pub role: String,
}

impl Scheduler {
    pub(super) fn new(base: &super::calls::Base) -> Self {
        Self { client: super::calls::client!(aws_sdk_scheduler, base) }
    }

    /// A group, if it is there.
    ///
    /// # Errors
    /// When a call fails.
    pub(crate) async fn group(&self, name: &str) -> Result<Option<ScheduleGroup>> {
        let call = self.client.get_schedule_group().name(name);
        let answer = match call.send().await.map_err(failed("scheduler:GetScheduleGroup", name)) {
            Err(error) if error.is_aws(AwsErrorKind::NotFound) => return Ok(None),
            answer => answer?,
        };
        let active = answer.state() != Some(&ScheduleGroupState::Deleting);
        let tags = self.tags(name, answer.arn().unwrap_or_default()).await?;
        Ok(tags.map(|tags| ScheduleGroup { active, tags }))
    }

    /// The groups whose names begin like this.
    ///
    /// # Errors
    /// When a call fails.
    pub(crate) async fn groups(&self, prefix: &str) -> Result<Vec<ScheduleGroup>> {
        let mut pages =
            self.client.list_schedule_groups().name_prefix(prefix).into_paginator().items().send();
        let mut groups = Vec::new();
        while let Some(group) = pages.next().await {
            let group = group.map_err(failed("scheduler:ListScheduleGroups", prefix))?;
            let (name, active) =
                (text(group.name()), group.state() != Some(&ScheduleGroupState::Deleting));
            if let Some(tags) = self.tags(&name, group.arn().unwrap_or_default()).await? {
                groups.push(ScheduleGroup { active, tags });
            }
        }
        Ok(groups)
    }

    async fn tags(&self, group: &str, arn: &str) -> Result<Option<BTreeMap<String, String>>> {
        let call = self.client.list_tags_for_resource().resource_arn(arn);
        match call.send().await.map_err(failed("scheduler:ListTagsForResource", group)) {
            // Gone between two calls.
            Err(error) if error.is_aws(AwsErrorKind::NotFound) => Ok(None),
            answer => {
                let answer = answer?;
                Ok(Some(
                    answer
                        .tags()
                        .iter()
                        .map(|tag| (tag.key().to_owned(), tag.value().to_owned()))
                        .collect(),
                ))
            }
        }
    }

    /// Creates a group, and gives it; `None` when there is one of this name already.
    ///
    /// # Errors
    /// When the call fails otherwise.
    pub(crate) async fn create_group(
        &self,
        name: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<Option<Owned>> {
        // Key and value are the only required fields, and both are set.
        let tags = tags
            .iter()
            .filter_map(|(key, value)| Tag::builder().key(key).value(value).build().ok())
            .collect();
        let call = self.client.create_schedule_group().name(name).set_tags(Some(tags));
        match call.send().await.map_err(failed("scheduler:CreateScheduleGroup", name)) {
            Ok(_) => Ok(Some(Owned::created(name))),
            Err(error) if error.aws().is_some_and(|it| it.is("ConflictException")) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes a group with all schedules in it.
    ///
    /// # Errors
    /// When the call fails; one that is gone, or going, is what was wanted.
    pub(crate) async fn delete_group(&self, group: &Owned) -> Result<()> {
        let call = self.client.delete_schedule_group().name(group.id());
        match call.send().await.map_err(failed("scheduler:DeleteScheduleGroup", group.id())) {
            Err(error) if error.is_aws(AwsErrorKind::NotFound) => Ok(()),
            Err(error) if error.aws().is_some_and(|it| it.is("ConflictException")) => Ok(()),
            result => result.map(|_| ()),
        }
    }

    /// The names of the schedules in a group that begin like this. A group that isn't there has
    /// none.
    ///
    /// # Errors
    /// When a call fails.
    pub(crate) async fn names(&self, group: &str, prefix: &str) -> Result<Vec<String>> {
        let call = self.client.list_schedules().group_name(group);
        let call = if prefix.is_empty() { call } else { call.name_prefix(prefix) };
        let mut pages = call.into_paginator().items().send();
        let mut names = Vec::new();
        while let Some(schedule) = pages.next().await {
            match schedule.map_err(failed("scheduler:ListSchedules", group)) {
                Ok(schedule) => names.push(text(schedule.name())),
                Err(error) if error.is_aws(AwsErrorKind::NotFound) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(names)
    }

    /// A schedule, if it is there and one-time.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn schedule(&self, group: &Owned, name: &str) -> Result<Option<Schedule>> {
        let call = self.client.get_schedule().group_name(group.id()).name(name);
        match call.send().await.map_err(failed("scheduler:GetSchedule", name)) {
            Err(error) if error.is_aws(AwsErrorKind::NotFound) => Ok(None),
            answer => Ok(read(&answer?)),
        }
    }

    /// Creates a schedule; `false` says that there is one of its name already. It deletes itself
    /// once it has fired.
    ///
    /// # Errors
    /// When the call fails otherwise.
    pub(crate) async fn create(&self, group: &Owned, schedule: &Schedule) -> Result<bool> {
        let result = self
            .client
            .create_schedule()
            .group_name(group.id())
            .name(&schedule.name)
            // The name alone makes it a create-if-absent; the token makes the SDK's own retry find
            // its first attempt.
            .client_token(&schedule.name)
            .description(&schedule.description)
            .schedule_expression(expression(schedule.at))
            .set_flexible_time_window(on_time())
            .action_after_completion(ActionAfterCompletion::Delete)
            .set_target(target(schedule))
            .send()
            .await
            .map_err(failed("scheduler:CreateSchedule", &schedule.name));
        match result {
            Ok(_) => Ok(true),
            Err(error) if error.aws().is_some_and(|it| it.is("ConflictException")) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Replaces a schedule. UpdateSchedule takes all of it: what is left out would take its default
    /// `[V]`.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn replace(&self, group: &Owned, schedule: &Schedule) -> Result<()> {
        let call = self
            .client
            .update_schedule()
            .group_name(group.id())
            .name(&schedule.name)
            .description(&schedule.description)
            .schedule_expression(expression(schedule.at))
            .set_flexible_time_window(on_time())
            .action_after_completion(ActionAfterCompletion::Delete)
            .set_target(target(schedule));
        call.send().await.map(|_| ()).map_err(failed("scheduler:UpdateSchedule", &schedule.name))
    }

    /// Deletes a schedule. One that is gone already has fired, or was deleted before.
    ///
    /// # Errors
    /// When the call fails otherwise.
    pub(crate) async fn delete(&self, group: &Owned, name: &str) -> Result<()> {
        let call = self.client.delete_schedule().group_name(group.id()).name(name);
        match call.send().await.map_err(failed("scheduler:DeleteSchedule", name)) {
            Err(error) if error.is_aws(AwsErrorKind::NotFound) => Ok(()),
            result => result.map(|_| ()),
        }
    }
}

/// Both fields are required, and set.
fn target(schedule: &Schedule) -> Option<Target> {
    let retries = RetryPolicy::builder()
        .maximum_event_age_in_seconds(RETRIED_FOR)
        .maximum_retry_attempts(RETRIES);
    Target::builder()
        .arn(&schedule.target)
        .role_arn(&schedule.role)
        .input(&schedule.input)
        .retry_policy(retries.build())
        .build()
        .ok()
}

/// The mode is all that it requires.
fn on_time() -> Option<FlexibleTimeWindow> {
    FlexibleTimeWindow::builder().mode(FlexibleTimeWindowMode::Off).build().ok()
}

/// A moment as a one-time schedule has it, in UTC. To the SDK it is any text.
fn expression(at: Timestamp) -> String {
    format!("at({})", at.strftime("%Y-%m-%dT%H:%M:%S"))
}

fn moment(expression: &str) -> Option<Timestamp> {
    let civil: DateTime = expression.strip_prefix("at(")?.strip_suffix(')')?.parse().ok()?;
    TimeZone::UTC.to_timestamp(civil).ok()
}

fn read(answer: &GetScheduleOutput) -> Option<Schedule> {
    let target = answer.target()?;
    Some(Schedule {
        name: text(answer.name()),
        description: text(answer.description()),
        at: moment(answer.schedule_expression()?)?,
        target: target.arn().to_owned(),
        input: text(target.input()),
        role: target.role_arn().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a moment with fractions or a zone, which AWS refuses.
    #[test]
    fn a_moment_is_written_in_whole_seconds_of_utc_and_read_back() {
        let at: Timestamp = "2026-11-24T12:05:07Z".parse().expect("a time");
        assert_eq!(expression(at), "at(2026-11-24T12:05:07)");
        assert_eq!(moment(&expression(at)), Some(at));
        assert_eq!(moment("rate(5 minutes)"), None);
    }
}
