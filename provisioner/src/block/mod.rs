//! A block's life: find, launch, purchase, join, drain, end.

pub(crate) mod bounds;
pub(crate) mod drain;
pub(crate) mod end;
pub(crate) mod find;
pub(crate) mod instance_types;
pub(crate) mod launch;
pub(crate) mod prices;
pub(crate) mod purchase;
pub(crate) mod termination_schedules;
pub(crate) mod user_data;
