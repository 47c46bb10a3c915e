//! AWS's services, each on its own state.
//!
//! A service whose operations need more than that names it in its `Service` struct: the options,
//! the identifiers, the journal, and what it looks up or does at another service. What EC2's
//! instances bring about elsewhere goes through the journal: EC2 knows neither ECS nor any host.
//!
//! Lowest first: `iam`, `logs`, `s3`; `ec2`; `ecs`; then `batch`, which runs on `ecs`, and
//! `scheduler`, `pricing`, `ssm` and `sts`, which look into the first.

pub(crate) mod batch;
pub(crate) mod ec2;
pub(crate) mod ecs;
pub(crate) mod iam;
pub(crate) mod logs;
pub(crate) mod pricing;
pub(crate) mod s3;
pub(crate) mod scheduler;
pub(crate) mod ssm;
pub(crate) mod sts;
