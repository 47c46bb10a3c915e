//! Hosts that somebody else boots: for a launched instance nothing is started here. The cloud
//! serves the metadata of all of them at one address, as it is on EC2, and tells who asks by the
//! address that the instance has in its subnet.
//!
//! An ECS agent on such a host registers and reports over ECS's own protocol. What it should run it
//! asks for at `/_localcloud/hosts/ID/tasks`, in place of the socket that ECS holds with the real
//! one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use axum::extract::{ConnectInfo, Request as HttpRequest, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response as HttpResponse};
use localcloud_core::cloud::Cloud;
use localcloud_core::cloud::{ec2, host_ports};
use localcloud_core::hosts::node_faults::NodeAnswer;
use localcloud_core::journal::effect::Container;
use localcloud_core::protocol::Request;
use tokio::net::TcpListener;

use crate::client::{HostInfo, HostTask};
use crate::shared_cloud::SharedCloud;
use crate::{clock, http};

/// What the hosts are to run, by instance and task.
#[derive(Default)]
pub(crate) struct Hosts {
    tasks: Mutex<BTreeMap<String, BTreeMap<String, HostTask>>>,
}

impl Hosts {
    pub(crate) fn run_task(&self, instance: String, task: String, container: Container) {
        let Container { name, family, revision, command, environment } = container;
        let wanted = HostTask {
            task: task.clone(),
            stop: false,
            name,
            family,
            revision,
            command,
            environment,
        };
        self.lock().entry(instance).or_default().entry(task).or_insert(wanted);
    }

    pub(crate) fn stop_task(&self, instance: &str, task: &str) {
        if let Some(wanted) = self.lock().get_mut(instance).and_then(|tasks| tasks.get_mut(task)) {
            wanted.stop = true;
        }
    }

    /// All that this host was ever given.
    pub(crate) fn tasks(&self, instance: &str) -> Vec<HostTask> {
        self.lock().get(instance).map(|tasks| tasks.values().cloned().collect()).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, BTreeMap<String, HostTask>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every instance, for whoever boots them.
pub(crate) fn info(cloud: &SharedCloud) -> Vec<HostInfo> {
    let cloud = cloud.lock();
    let hosts = ec2::all(&cloud).iter().map(|instance| HostInfo {
        instance: instance.id.clone(),
        alive: instance.alive(),
        address: instance.private_ip.clone(),
        mac: instance.mac.clone(),
        image: instance.image().id.to_owned(),
    });
    hosts.collect()
}

/// Serves the metadata of all instances at `address`.
///
/// # Errors
/// When it can't be bound, or the server fails.
pub(crate) async fn serve_metadata(
    cloud: Arc<SharedCloud>,
    address: SocketAddr,
) -> anyhow::Result<()> {
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("serve metadata at {address}"))?;
    let app = axum::Router::new().fallback(answer).with_state(cloud);
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app).await.context("serve metadata")
}

async fn answer(
    State(cloud): State<Arc<SharedCloud>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    request: HttpRequest,
) -> HttpResponse {
    let request = match http::take(request).await {
        Ok(request) => request,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{error:#}\n")).into_response(),
    };
    let address = from.ip().to_string();
    match cloud.act(|cloud| answer_at(cloud, &address, &request)) {
        Some(answer) => http::give_as(answer).await,
        None => (StatusCode::NOT_FOUND, format!("no instance has the address {address}\n"))
            .into_response(),
    }
}

/// What the metadata service says to the instance of this address, as the fault script lets it.
fn answer_at(cloud: &mut Cloud, address: &str, request: &Request) -> Option<NodeAnswer> {
    let instances = ec2::all(cloud);
    let instance = instances
        .iter()
        .find(|instance| instance.alive() && instance.private_ip == address)?
        .id
        .clone();
    Some(host_ports::faulty_metadata(cloud, clock::now(), &instance, request))
}
