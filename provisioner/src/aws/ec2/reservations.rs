//! EC2: capacity reservations, and launches into them.

use aws_sdk_ec2::operation::run_instances::builders::RunInstancesFluentBuilder;
use aws_sdk_ec2::types::{
    self, CapacityReservationInstancePlatform, CapacityReservationSpecification,
    CapacityReservationTarget, CapacityReservationType, EndDateType, Filter, InstanceMatchCriteria,
    InstanceType, LaunchTemplateSpecification, ResourceType,
};

use super::{Ec2, filter, our_tags, shown, specification};
use crate::aws::classify::failed;
use crate::aws::{text, time, to_sdk_time};
use crate::model::capacity_reservation::CapacityReservation;
use crate::model::error::{Error, Result};
use crate::model::ownership::Owned;
use crate::model::record::{BlockSpec, LaunchData, PurchaseAttempt, Record};

/// A launch into a reservation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LaunchInto<'a> {
    /// The block's record, whose template is launched.
    pub record: &'a Record,
    /// The attempt.
    pub attempt: &'a PurchaseAttempt,
    /// How many instances: all or none.
    pub asked: u32,
    /// What is launched; its user data is this source's.
    pub launch: &'a LaunchData,
    /// The reservation.
    pub reservation: &'a str,
    /// The instances' type.
    pub instance_type: &'a str,
    /// Their subnet.
    pub subnet: &'a str,
}

impl Ec2 {
    /// Reserves capacity at once, or nothing, for instances that target it. Everything in the
    /// request follows from the record and from the zone of the attempt's subnet: asked again under
    /// its token, AWS gives the same reservation.
    ///
    /// # Errors
    /// AWS's refusal among others.
    pub(crate) async fn reserve(
        &self,
        spec: &BlockSpec,
        attempt: &PurchaseAttempt,
        asked: u32,
        zone: &str,
    ) -> Result<CapacityReservation> {
        let kind = attempt.pool.types.first().map(String::as_str).unwrap_or_default();
        let answer = self
            .client
            .create_capacity_reservation()
            .client_token(spec.client_token(attempt, 0))
            .instance_type(kind)
            .instance_platform(CapacityReservationInstancePlatform::LinuxUnix)
            .availability_zone(zone)
            .instance_count(i32::try_from(asked).unwrap_or(i32::MAX))
            .instance_match_criteria(InstanceMatchCriteria::Targeted)
            .end_date_type(EndDateType::Limited)
            .end_date(to_sdk_time(spec.reserved_until()))
            .tag_specifications(specification(
                ResourceType::CapacityReservation,
                &spec.tags_of(attempt.number),
            ))
            .send()
            .await
            .map_err(failed("ec2:CreateCapacityReservation", format!("block {}", spec.block)))?;
        answer.capacity_reservation().map(reservation).ok_or_else(|| {
            Error::state(
                format!("AWS reserved capacity for block {} and did not say what", spec.block),
                "run the same command again",
            )
        })
    }

    /// The capacity reservations with this tag.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn reservations_tagged(
        &self,
        tag: &str,
        value: &str,
    ) -> Result<Vec<CapacityReservation>> {
        self.reservations(filter(&format!("tag:{tag}"), [value.to_owned()])).await
    }

    /// The capacity reservations that a filter finds. Those of capacity blocks are not among them:
    /// nobody can cancel them.
    ///
    /// # Errors
    /// When the call fails.
    pub(super) async fn reservations(&self, by: Filter) -> Result<Vec<CapacityReservation>> {
        let all = self.described_reservations(by).await?;
        Ok(all.iter().filter(|it| !is_of_a_block(it)).map(reservation).collect())
    }

    /// The capacity reservations that a filter finds, those of capacity blocks among them.
    pub(super) async fn described_reservations(
        &self,
        by: Filter,
    ) -> Result<Vec<types::CapacityReservation>> {
        let shown = shown(&by);
        let mut pages =
            self.client.describe_capacity_reservations().filters(by).into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(failed("ec2:DescribeCapacityReservations", shown.clone()))?;
            found.extend_from_slice(page.capacity_reservations());
        }
        Ok(found)
    }

    /// A capacity reservation as EC2 describes it.
    pub(super) async fn described_reservation(
        &self,
        id: &str,
    ) -> Result<types::CapacityReservation> {
        let call = self.client.describe_capacity_reservations().capacity_reservation_ids(id);
        let answer = call.send().await.map_err(failed("ec2:DescribeCapacityReservations", id))?;
        answer.capacity_reservations().first().cloned().ok_or_else(|| {
            Error::state(
                format!("capacity reservation {id} is not there"),
                "check that [block] names one of this region and account; then run the same \
                 command again",
            )
        })
    }

    /// One capacity reservation, whosesoever it is.
    ///
    /// # Errors
    /// When the call fails, or there is none.
    pub(crate) async fn reservation(&self, id: &str) -> Result<CapacityReservation> {
        self.described_reservation(id).await.map(|it| reservation(&it))
    }

    /// Cancels a reservation. What runs in it lives on, on demand `[V]`.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn cancel_reservation(&self, reservation: &Owned) -> Result<()> {
        let call =
            self.client.cancel_capacity_reservation().capacity_reservation_id(reservation.id());
        super::gone_is_fine(
            call.send()
                .await
                .map(|_| ())
                .map_err(failed("ec2:CancelCapacityReservation", reservation.id())),
        )
    }

    /// Launches into a reservation, all or none. Everything in the request follows from the record
    /// and from what never changes of reservation and subnet: asked again under its token, AWS
    /// launches nothing more.
    ///
    /// # Errors
    /// AWS's refusal among others.
    pub(crate) async fn launch_into(&self, into: LaunchInto<'_>) -> Result<Vec<String>> {
        let LaunchInto { record, attempt, asked, launch, reservation, instance_type, subnet } =
            into;
        let call = self
            .run_into(record, attempt, asked, reservation, "1")
            .instance_type(InstanceType::from(instance_type))
            .subnet_id(subnet)
            .user_data(&launch.user_data);
        let of = format!("block {} in {reservation}", record.spec.block);
        let answer = call.send().await.map_err(failed("ec2:RunInstances", of))?;
        Ok(answer.instances().iter().map(|instance| text(instance.instance_id())).collect())
    }

    /// A launch of all of an attempt's instances into a reservation, or of none, from a version of
    /// the record's template. The template has the rest: metadata version 2 only, and that an
    /// instance which shuts down is gone.
    pub(super) fn run_into(
        &self,
        record: &Record,
        attempt: &PurchaseAttempt,
        asked: u32,
        reservation: &str,
        version: &str,
    ) -> RunInstancesFluentBuilder {
        let (spec, count) = (&record.spec, i32::try_from(asked).unwrap_or(i32::MAX));
        let template = LaunchTemplateSpecification::builder()
            .launch_template_id(record.template.id())
            .version(version)
            .build();
        let target =
            CapacityReservationTarget::builder().capacity_reservation_id(reservation).build();
        let target =
            CapacityReservationSpecification::builder().capacity_reservation_target(target).build();
        let mut call = self
            .client
            .run_instances()
            .client_token(spec.client_token(attempt, 0))
            .min_count(count)
            .max_count(count)
            .launch_template(template)
            .capacity_reservation_specification(target);
        for kind in [ResourceType::Instance, ResourceType::Volume] {
            call = call.tag_specifications(specification(kind, &spec.tags_of(attempt.number)));
        }
        call
    }
}

fn is_of_a_block(it: &types::CapacityReservation) -> bool {
    it.reservation_type() == Some(&CapacityReservationType::CapacityBlock)
}

fn reservation(it: &types::CapacityReservation) -> CapacityReservation {
    CapacityReservation {
        id: text(it.capacity_reservation_id()),
        state: text(it.state().map(|state| state.as_str())),
        instance_type: text(it.instance_type()),
        zone: text(it.availability_zone()),
        created: time(it.create_date()),
        end: it.end_date().map(|end| time(Some(end))),
        tags: our_tags(it.tags()),
    }
}
