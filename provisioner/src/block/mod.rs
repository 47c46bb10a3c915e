//! A block's life: find, launch, purchase, join, drain, end.

pub mod bounds;
pub mod drain;
pub(crate) mod end;
pub mod find;
pub mod instance_types;
pub mod launch;
pub mod prices;
pub mod purchase;
pub mod termination_schedules;
pub mod user_data;
