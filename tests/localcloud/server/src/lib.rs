//! A local cloud: the parts of AWS that a block needs, over their real wire protocols, on loopback.
//!
//! [`localcloud_core`] decides: a request, the time and a seed give a response, a record of the
//! call, and effects. This crate acts: one port for all services, and for each launched instance a
//! node with its own IMDS, root folder, agent process and stand-in for the ECS agent.
//!
//! A module uses those in its own row and in the rows above it, never those below.
//!
//! | layer | what it is |
//! |---|---|
//! | `clock` | the only reader of the clock |
//! | `client` | what a program outside reads from a running cloud |
//! | `process` | process groups, so that nothing is left |
//! | `http` | requests off the wire, answers onto it |
//! | `port` | a node's port, which can refuse connections |
//! | `shared_cloud` | the cloud, for all that runs beside it |
//! | `node` | a launched instance: root folder, IMDS, the agent's process, the ECS agent's stand-in |
//! | `booted_elsewhere` | in place of nodes, hosts that somebody else boots |
//! | `server` | the cloud's own port with its controls; starts and ends nodes |
//!
//! # Running one
//!
//! `localcloud serve --agent PATH` prints `localcloud http://127.0.0.1:PORT` when it is ready, and
//! ends at SIGTERM, SIGINT, or with `--until-stdin-closes` when its input ends; nothing that it
//! started is left. `eval "$(localcloud env --port PORT)"` points `aws` and `spotblock` at it.
//!
//! A job's container is a process that sleeps; its command is never run. `sleep N` in the command
//! gives the seconds, and the job's environment says more: `LOCALCLOUD_SECONDS`,
//! `LOCALCLOUD_EXIT=CODE`, `LOCALCLOUD_ON_TERM=exit:CODE|ignore`, `LOCALCLOUD_PLATFORM=linux/arm64`
//! for an image that no other host can pull.
//!
//! # Controls
//!
//! | request | what it does |
//! |---|---|
//! | `GET /_localcloud/calls` | every call so far ([`client::Call`]) |
//! | `GET /_localcloud/events` | everything that happened so far ([`client::Event`]) |
//! | `GET /_localcloud/nodes` | the nodes ([`client::NodeInfo`]) |
//! | `GET /_localcloud/options` | how the cloud behaves ([`client::Options`]) |
//! | `PATCH /_localcloud/options` | changes it by a JSON merge patch, such as `{"spot-block": "refuse"}` or `{"block-ends-in": "PT45S"}` |
//! |  | `{"capacity": {"c5.large/us-east-1a": 3, "*/us-east-1b/spot": 0}}`: how many instances can live at once, by type, zone and market; `{"on-demand-vcpus": 64, "spot-vcpus": 0}`: the account's quotas; `{"spot-price": 0.5}`: one price everywhere |
//! | `POST /_localcloud/faults` | adds a fault ([`client::Fault`], [`client::NodeFault`]) or a list of them to the script |
//! | `DELETE /_localcloud/faults` | empties the script |
//! | `POST /_localcloud/nodes/ID/power-off` | powers the host off from inside |
//! | `POST /_localcloud/nodes/ID/vanish` | the host is gone, and EC2 and ECS learn of it late |
//! | `POST /_localcloud/nodes/ID/interrupt` | AWS announces that it takes the instance; `{"in-secs": 120, "action": "terminate"}` are the defaults |
//! | `POST /_localcloud/nodes/ID/rebalance` | AWS recommends to leave |
//! | `POST /_localcloud/nodes/ID/kill-agent` | SIGKILL to the agent, which is started again |
//! | `POST /_localcloud/nodes/ID/stop-agent` | SIGTERM to the agent, which is started again |
//!
//! # Light nodes
//!
//! While 30 instances live, the next ones are light nodes ([`simulated_hosts`]): no sockets, no
//! files, no processes, and no agent's binary. They join, run tasks, drain, stop them and leave by
//! the settings in their user data, and obey the controls that need no process.
//! `--light-nodes-above` or the option `light-nodes-above` says another number.
//!
//! # Hosts that somebody else boots
//!
//! With `--metadata-at ADDRESS:PORT` in place of `--agent` no node is started: each launched
//! instance waits for a host that is booted elsewhere, such as a container with its own network.
//! All of them ask for their metadata at that address, and are told apart by theirs.
//!
//! | request | what it does |
//! |---|---|
//! | `GET /_localcloud/hosts` | the instances, with their addresses ([`client::HostInfo`]) |
//! | `GET /_localcloud/hosts/ID/tasks` | what the host's ECS agent is to run and to stop ([`client::HostTask`]) |
//! | `GET /_localcloud/hosts/ID/asked` | every request to its metadata service ([`client::Asked`]) |
//! | `POST /_localcloud/hosts/ID/power-off` | the host has powered itself off |
//! | `POST /_localcloud/hosts/ID/ecs-connected`, `ecs-gone` | its ECS agent has connected to ECS, or is gone |
//!
//! # Reserved capacity
//!
//! A capacity reservation is active `pace.reservation-ms` after its creation, and holds capacity
//! and quota. A capacity block is paid after `pace.payment-ms`, active from its start on, and its
//! instances are ended half an hour before its end. Blocks start at 11:30 UTC; the options
//! `capacity-block-starts-in` (such as `PT0S`) and `block-ends-in` (the blocks on offer have begun,
//! and are taken back that soon) spare a rehearsal the waiting.
//!
//! # Schedules
//!
//! A one-time schedule of EventBridge Scheduler fires `pace.schedule-ms` after its time: it takes
//! its role, which has to trust `scheduler.amazonaws.com`, and calls `ec2:terminateInstances` or
//! `ec2:deleteFleets` if the role's inline policies allow it on each resource. The call is recorded
//! with the caller `scheduler`, and what came of it is an event. Recurring schedules are kept and
//! never fire.
//!
//! # Faults
//!
//! A fault of AWS's calls: `{"service": "batch", "operation": "SubmitJob", "caller": "user",
//! "skip": 1, "count": 2, "effect": "throttle"}`; further effects are `{"fail": {"code": "...",
//! "status": 400, "message": "..."}}`, `{"hang": {"secs": 5}}`, `"lost-answer"` and `{"slow":
//! {"millis": 500}}`. The caller can be one instance, `{"node": "i-..."}`, and the operation the
//! beginning of many: `"Describe*"`.
//!
//! A fault on instances: `{"service": "imds", "operation": "/latest/meta-data/spot/*", "node": 1,
//! "secs": 5, "effect": {"status": 503}}`. The service is `imds` or `introspection`, the operation
//! a path or `token`, the node an id or, before it has one, its number in the order of launches.
//! With `secs` the fault holds for that long, from the first request on that it hits. The effects,
//! see [`NodeEffect`]: `{"status": 401}`, `{"hang": {"secs": 5}}`, `"garbage"`, `"half"`,
//! `"refuse"`, `{"short-token": {"uses": 5}}`, `{"clock-off": {"secs": 21600}}`, `"null-arn"`.
//!
//! [`simulated_hosts`]: localcloud_core::hosts::simulated_hosts
//! [`NodeEffect`]: localcloud_core::hosts::node_faults::NodeEffect

pub mod client;
pub mod clock;
pub mod server;

mod booted_elsewhere;
mod http;
mod node;
mod port;
mod process;
mod shared_cloud;
