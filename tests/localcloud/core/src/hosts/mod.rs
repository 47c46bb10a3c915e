//! What an instance has besides what EC2 knows of it.

pub mod agent_calls;
pub mod behaviour;
pub mod imds;
pub mod node_faults;
pub mod simulated_hosts;

pub use node_faults::NodeFault;
