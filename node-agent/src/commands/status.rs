//! `spotblock-agent status`: what the agent that runs here is doing.

use std::path::Path;

use anyhow::Context as _;
use node_contract::names;

use crate::status::report::Report;
use crate::status::socket;

/// Asks the agent below this root folder.
///
/// # Errors
/// No agent answers, or its answer can't be read.
pub fn report(root: &Path) -> anyhow::Result<Report> {
    let path = root.join(names::path::SOCKET);
    socket::ask(&path).with_context(|| {
        format!("ask the agent at {} (does it run, and are you root?)", path.display())
    })
}
