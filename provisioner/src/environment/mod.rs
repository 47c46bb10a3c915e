//! What stands around blocks: the wanted resources, what is there, the plan, and how it is carried out.

pub mod apply;
pub mod cloudformation;
pub mod desired;
pub mod given_profile;
pub mod observe;
pub mod plan;
pub mod policy;
