//! Black-box tests: both programs, and the AWS CLI, against a local cloud of their own.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod agent;
mod agent_across;
mod agent_clock;
mod agent_ecs;
mod agent_host;
mod agent_imds;
mod agent_kills;
mod aws_cli;
mod consent;
mod demo;
mod drain;
mod first_example;
mod fleet;
mod help;
mod host;
mod interrupted;
mod jobs;
mod lives;
mod logs;
mod no_aws;
mod refusals;
mod refused;
mod scale;
mod sources;
mod world;
