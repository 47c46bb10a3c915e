//! What stands around blocks: the wanted resources, what is there, the plan, and how it is carried
//! out.

pub(crate) mod apply;
pub(crate) mod cloudformation;
pub(crate) mod desired;
pub(crate) mod given_profile;
pub(crate) mod observe;
pub(crate) mod plan;
pub(crate) mod policy;
