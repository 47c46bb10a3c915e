//! What the demo and the black-box tests share.
//!
//! 1. [`binaries`]: where the three programs are
//! 2. [`guard`]: no program is started that could reach AWS or the real metadata address
//! 3. [`cloud`]: a running `localcloud`, its records and its controls
//! 4. [`cli`]: one run of `spotblock`, or of the AWS CLI, against it
//! 5. [`lives`]: the lives of instances and jobs, told from the records
//! 6. [`promises`]: what has to be true of them
//! 7. [`story`]: the same for a person to read

pub mod binaries;
pub mod cli;
pub mod cloud;
pub mod guard;
pub mod lives;
pub mod promises;
pub mod story;
