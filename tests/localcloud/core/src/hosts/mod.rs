//! What an instance has besides what EC2 knows of it.
//!
//! - [`imds`]: its metadata service; [`node_faults`]: faults of that and of its ECS agent's
//!   introspection
//! - [`simulated_hosts`]: light nodes, whose host and agents are a few fields
//! - [`agent_calls`]: what an ECS agent says to ECS; [`behaviour`]: what a container does

pub mod agent_calls;
pub mod behaviour;
pub mod imds;
pub mod node_faults;
pub mod simulated_hosts;

pub use node_faults::NodeFault;
