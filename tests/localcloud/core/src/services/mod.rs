//! AWS's services.

pub mod batch;
pub mod ec2;
pub mod ecs;
pub mod iam;
pub mod logs;
pub mod pricing;
pub mod s3;
pub mod scheduler;
pub mod ssm;
pub mod sts;
