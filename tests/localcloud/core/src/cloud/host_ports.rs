//! The ports of an instance's host from outside: its metadata service, and its ECS agent's
//! introspection.

use jiff::Timestamp;

use super::Cloud;
use crate::hosts::imds::{self, Asked};
use crate::hosts::node_faults::{
    Asked as About, NodeAnswer, NodeEffect, Place, introspected as let_through,
};
use crate::protocol::{Request, Response};

/// Everything that this instance's metadata service was asked, in order.
#[must_use]
pub fn asked<'a>(cloud: &'a Cloud, instance: &str) -> &'a [Asked] {
    cloud.ec2.instance(instance).map_or(&[], |found| cloud.imds.asked(&found.id))
}

/// Answers a request that came to this instance's metadata service, faults apart. The answer
/// carries its own Date.
pub fn metadata(cloud: &mut Cloud, now: Timestamp, instance: &str, request: &Request) -> Response {
    cloud.advance(now);
    imds::respond(&mut cloud.imds(), now, instance, request)
}

/// Answers a request that came to this instance's metadata service, as the fault script lets it.
pub fn faulty_metadata(
    cloud: &mut Cloud,
    now: Timestamp,
    instance: &str,
    request: &Request,
) -> NodeAnswer {
    let fault = fault(cloud, now, Place::Imds, imds::operation(request), instance);
    if fault.is_none_or(NodeEffect::is_served) {
        cloud.advance(now);
    }
    imds::answer(&mut cloud.imds(), now, instance, request, fault)
}

/// An answer of introspection, as the fault script lets it through.
pub fn introspected(
    cloud: &mut Cloud,
    now: Timestamp,
    instance: &str,
    path: &str,
    response: impl FnOnce() -> Response,
) -> NodeAnswer {
    let_through(fault(cloud, now, Place::Introspection, path, instance), response)
}

/// Whether the port of this service of this instance refuses connections now.
pub fn refuses(cloud: &mut Cloud, now: Timestamp, place: Place, instance: &str) -> bool {
    let number = cloud.ec2.number(instance);
    // A refusal has no operation: nobody knows yet what will be asked.
    cloud.faults.nodes.refuse(now, About { place, operation: "", instance, number })
}

fn fault(
    cloud: &mut Cloud,
    now: Timestamp,
    place: Place,
    operation: &str,
    instance: &str,
) -> Option<NodeEffect> {
    let number = cloud.ec2.number(instance);
    cloud.faults.nodes.take(now, About { place, operation, instance, number })
}
