//! EC2's calls.

use serde_json::Value;

use super::{Facts, entries, launches, text, texts};
use crate::services::iam::Ask;

/// A call of EC2.
pub(super) struct Call<'a> {
    pub(super) facts: &'a Facts<'a>,
    operation: &'a str,
    parameters: &'a Value,
}

/// What a call of EC2 asks.
pub(super) fn of(facts: &Facts<'_>, operation: &str, parameters: &Value) -> Vec<Ask> {
    let call = Call { facts, operation, parameters };
    let made = |kind: &str| [vec![call.made(operation, kind)], call.tags_set()].concat();
    match operation {
        "CreateLaunchTemplate" => made("launch-template"),
        "CreateCapacityReservation" | "PurchaseCapacityBlock" => made("capacity-reservation"),
        "CreateLaunchTemplateVersion" | "DeleteLaunchTemplate" => {
            let id =
                facts.ec2.template_asked(parameters).map_or_else(|| "*".to_owned(), |(id, _)| id);
            vec![call.on(operation, "launch-template", &id)]
        }
        "TerminateInstances" | "GetConsoleOutput" => call.each("InstanceId", "instance"),
        "CancelSpotInstanceRequests" => {
            call.each("SpotInstanceRequestId", "spot-instances-request")
        }
        "DeleteFleets" => call.each("FleetId", "fleet"),
        "CancelCapacityReservation"
        | "ModifyCapacityReservation"
        | "PurchaseCapacityBlockExtension" => {
            call.each("CapacityReservationId", "capacity-reservation")
        }
        "CreateTags" | "DeleteTags" => call.tags(),
        "RequestSpotInstances" => launches::requested(&call, parameters),
        "RunInstances" => launches::run(&call, parameters),
        "CreateFleet" => launches::fleet(&call, parameters),
        _ => vec![Ask::new(format!("ec2:{operation}"), "*")],
    }
}

impl Call<'_> {
    /// The ARN of something. Images are nobody's in particular.
    fn arn(&self, kind: &str, id: &str) -> String {
        let account = if kind == "image" { "" } else { self.facts.options.account.as_str() };
        format!("arn:aws:ec2:{}:{account}:{kind}/{id}", self.facts.options.region)
    }

    /// The tags that the request gives to what it makes; CreateCapacityReservation writes them in
    /// the plural.
    fn specifications(&self) -> &[Value] {
        let names = ["TagSpecification", "TagSpecifications"];
        names
            .map(|name| entries(self.parameters, name))
            .into_iter()
            .find(|it| !it.is_empty())
            .unwrap_or_default()
    }

    /// An action on something that is there.
    pub(super) fn on(&self, action: &str, kind: &str, id: &str) -> Ask {
        let tags = self.facts.ec2.tags_of(id);
        let ask =
            Ask::new(format!("ec2:{action}"), self.arn(kind, id)).tagged("aws:ResourceTag", &tags);
        // Capacity reservations know only the key of all services.
        if kind == "capacity-reservation" { ask } else { ask.tagged("ec2:ResourceTag", &tags) }
    }

    /// An action that makes something of this kind, with the tags that the request gives it.
    pub(super) fn made(&self, action: &str, kind: &str) -> Ask {
        let given = tags_for(self.specifications(), kind);
        Ask::new(format!("ec2:{action}"), self.arn(kind, "*")).tagged("aws:RequestTag", &given)
    }

    /// The tags that a request gives to what it makes are asked for by themselves.
    pub(super) fn tags_set(&self) -> Vec<Ask> {
        self.tags_in(self.specifications())
    }

    /// The same for a template's.
    pub(super) fn tags_in(&self, specifications: &[Value]) -> Vec<Ask> {
        let kinds = specifications.iter().filter_map(|it| text(it, "ResourceType"));
        let asks = kinds.map(|kind| {
            Ask::new("ec2:CreateTags", self.arn(kind, "*"))
                .tagged("aws:RequestTag", &tags_for(specifications, kind))
                .with("ec2:CreateAction", self.operation)
        });
        asks.collect()
    }

    fn each(&self, name: &str, kind: &str) -> Vec<Ask> {
        texts(self.parameters, name)
            .into_iter()
            .map(|id| self.on(self.operation, kind, id))
            .collect()
    }

    /// CreateTags and DeleteTags, on things that are there; of what isn't EC2 says so.
    fn tags(&self) -> Vec<Ask> {
        let given = tags(entries(self.parameters, "Tag"));
        let ids = texts(self.parameters, "ResourceId").into_iter();
        let asks = ids.filter_map(|id| {
            let kind = self.facts.ec2.kind_of(id)?;
            Some(self.on(self.operation, kind, id).tagged("aws:RequestTag", &given))
        });
        asks.collect()
    }
}

/// The tags that specifications give to things of this kind.
pub(super) fn tags_for(specifications: &[Value], kind: &str) -> Vec<(String, String)> {
    let own = specifications.iter().filter(|it| text(it, "ResourceType") == Some(kind));
    own.flat_map(|it| tags(entries(it, "Tag"))).collect()
}

fn tags(list: &[Value]) -> Vec<(String, String)> {
    let pair = |tag: &Value| {
        Some((text(tag, "Key")?.to_owned(), text(tag, "Value").unwrap_or_default().to_owned()))
    };
    list.iter().filter_map(pair).collect()
}
