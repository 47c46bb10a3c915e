//! What a block, a job definition and a purchase are: plain types and pure rules.
//!
//! Nothing here knows AWS's SDK, the command line, a clock or a stream: every rule is a function of
//! its arguments, so its tests take microseconds. `tests/house` holds that.
//!
//! Bottom up: each module uses those above it in this table and nothing else.
//!
//! | layer | what it is |
//! |---|---|
//! | `text`, `names` | how durations are written, what is named after an environment |
//! | `change`, `error` | differences between wanted and there; errors as people read them |
//! | `batch`, `job_definition` | what Batch shows and takes |
//! | `cost` | what a block costs at worst |
//! | `instance`, `spot_request`, `capacity_reservation` | what EC2 shows |
//! | `ownership` | what is ours, and the one check before anything is changed |
//! | `record`, `source` | a block's record, and the rules of the sources that it may be bought from |
//! | `instance_type` | which instance types fit what an instance needs |
//! | `block` | a block: what it has, whether it lives, when it ends |

pub mod batch;
pub mod block;
pub mod capacity_reservation;
pub mod change;
pub mod cost;
pub mod error;
pub mod instance;
pub mod instance_type;
pub mod job_definition;
pub mod names;
pub mod ownership;
pub mod record;
pub mod source;
pub mod spot_request;
pub mod text;
