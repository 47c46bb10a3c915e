//! The calls that end what belongs to a block. Whoever ends it (a launch that gives back, `down`,
//! `reap`) decides what; each call takes an [`Owned`], which only the check of the block's marks
//! makes.

use crate::aws::Aws;
use crate::model::capacity_reservation::CapacityReservation;
use crate::model::error::Result;
use crate::model::instance::Instance;
use crate::model::ownership::{Marks, Owned, ids};
use crate::model::spot_request::SpotRequest;
use crate::terminal::Ui;

/// Ends what carries one block's marks.
pub(crate) struct Ender<'a> {
    aws: &'a Aws,
    /// Who is told of what is ended; none where the caller lists it itself.
    ui: Option<&'a Ui>,
    marks: Marks<'a>,
}

impl<'a> Ender<'a> {
    /// Of what carries these marks.
    pub(crate) fn new(aws: &'a Aws, ui: Option<&'a Ui>, marks: Marks<'a>) -> Self {
        Self { aws, ui, marks }
    }

    /// Cancels spot requests, and gives the ids of those that are the block's. What they brought
    /// lives on.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn cancel_requests<'b>(
        &self,
        requests: impl Iterator<Item = &'b SpotRequest>,
    ) -> Result<Vec<String>> {
        let owned: Vec<Owned> =
            requests.filter_map(|request| self.marks.claim(&request.id, &request.tags)).collect();
        self.aws.ec2.cancel_spot_requests(&owned).await?;
        Ok(ids(&owned))
    }

    /// Cancels capacity reservations one by one. Those that were cancelled are added to `done`.
    ///
    /// # Errors
    /// When a call fails; those before it are cancelled.
    pub(crate) async fn cancel_reservations<'b>(
        &self,
        reservations: impl Iterator<Item = &'b CapacityReservation>,
        done: &mut Vec<String>,
    ) -> Result<()> {
        for reservation in reservations {
            let Some(owned) = self.marks.claim(&reservation.id, &reservation.tags) else {
                continue;
            };
            self.say(format_args!("cancelling capacity reservation {}", owned.id()));
            self.aws.ec2.cancel_reservation(&owned).await?;
            done.push(reservation.id.clone());
        }
        Ok(())
    }

    /// Marks those of these instances that are not marked yet: AWS forgets the spot requests that
    /// brought them, and a run can be killed before it has ended them.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn mark(
        &self,
        instances: &[&Instance],
        requests: &[SpotRequest],
    ) -> Result<()> {
        let unmarked = instances.iter().filter(|instance| !self.marks.are_on(&instance.tags));
        let unmarked: Vec<Owned> =
            unmarked.filter_map(|instance| self.marks.claim_instance(instance, requests)).collect();
        self.aws.ec2.tag(&unmarked, &self.marks.tags()).await
    }

    /// Terminates instances. Those that were asked to end are added to `done`.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn terminate(&self, owned: &[Owned], done: &mut Vec<String>) -> Result<()> {
        if owned.is_empty() {
            return Ok(());
        }
        self.say(format_args!("terminating {}", ids(owned).join(", ")));
        self.aws.ec2.terminate(owned).await?;
        done.extend(ids(owned));
        Ok(())
    }

    fn say(&self, line: std::fmt::Arguments<'_>) {
        if let Some(ui) = self.ui {
            ui.say(line);
        }
    }
}
