//! A local cloud: the parts of AWS that a block needs, over their real wire protocols, on loopback.
//!
//! 1. [`core`] decides. It does no I/O and reads no clock: a request, the time and a seed give a response, a record of
//!    the call, and effects. A simulation drives it directly.
//! 2. [`wire`] is what the protocols share: query forms in, XML out.
//! 3. [`shell`] acts: one port for all services, and for each launched instance a node with its own IMDS, root folder,
//!    agent process and stand-in for the ECS agent.

pub mod core;
pub mod shell;
pub mod wire;
