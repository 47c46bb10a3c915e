//! IMDS as an agent sees it.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::*;
use crate::cloud::testing::{World, between};
use crate::cloud::{ec2, host_ports};

/// A host with an instance that runs, its profile and user data included.
struct Instance {
    world: World,
    id: String,
    token: String,
}

impl Instance {
    fn launched() -> Self {
        Self::launched_in(World::new())
    }

    fn launched_in(mut world: World) -> Self {
        world.query(
            "ec2",
            "Action=RequestSpotInstances&BlockDurationMinutes=60&LaunchSpecification.ImageId=ami-a7a242da&LaunchSpecification.InstanceType=t2.micro&LaunchSpecification.IamInstanceProfile.Name=ecsInstanceRole&LaunchSpecification.UserData=%2F%2F4%3D",
        );
        world.wait_ms(2_000);
        let answer = world.query("ec2", "Action=DescribeInstances");
        let id = between(&answer, "instanceId").expect("an instance").to_owned();
        let mut instance = Self { world, id, token: String::new() };
        let token = instance.ask("PUT", "/latest/api/token", &[(TTL_HEADER, "60")]);
        instance.token = String::from_utf8(token.body).expect("a token");
        instance
    }

    fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
        let headers =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let request = Request {
            method: method.to_owned(),
            path: path.to_owned(),
            headers,
            ..Request::default()
        };
        host_ports::metadata(&mut self.world.cloud, self.world.now, &self.id, &request)
    }

    /// A GET with the token; status and text.
    fn get(&mut self, path: &str) -> (u16, String) {
        let token = self.token.clone();
        let response = self.ask("GET", path, &[(TOKEN_HEADER, &token)]);
        (response.status, String::from_utf8_lossy(&response.body).into_owned())
    }

    fn json(&mut self, path: &str) -> Value {
        let (status, text) = self.get(path);
        assert_eq!(status, 200, "{path}");
        serde_json::from_str(&text).expect("JSON")
    }
}

fn befallen(host: &mut Instance, fault: Value) {
    host.world.cloud.add_node_fault(serde_json::from_value(fault).expect("a fault"));
}

impl Instance {
    /// A GET with the token, as the fault script lets it.
    fn answered(&mut self, path: &str) -> NodeAnswer {
        let headers = vec![(TOKEN_HEADER.to_owned(), self.token.clone())];
        let request = Request {
            method: "GET".to_owned(),
            path: path.to_owned(),
            headers,
            ..Request::default()
        };
        host_ports::faulty_metadata(&mut self.world.cloud, self.world.now, &self.id, &request)
    }
}

/// Catches: a fault that is served and not written down, or one without the Date that the real
/// service always sends.
#[test]
fn faults_befall_the_agents_requests_and_are_recorded() {
    let mut host = Instance::launched();
    let path = "/latest/meta-data/instance-id";
    for effect in
        [json!({"status": 503}), json!("garbage"), json!("half"), json!({"hang": {"secs": 3}})]
    {
        befallen(
            &mut host,
            json!({"service": "imds", "operation": path, "node": 1, "effect": effect}),
        );
    }
    let first = host.answered(path);
    assert_eq!((first.response.status, first.way), (503, Way::Whole));
    assert!(first.response.headers.iter().any(|(name, _)| name == "date"));
    assert!(host.answered(path).response.body.contains(&0xff));
    let half = host.answered(path);
    assert_eq!((half.way, half.response.body), (Way::Half, host.id.clone().into_bytes()));
    assert_eq!(host.answered(path).way, Way::CutAfter { secs: 3 });
    assert_eq!(host.answered(path).response.body, host.id.clone().into_bytes());
    let statuses: Vec<u16> = host_ports::asked(&host.world.cloud, &host.id)
        .iter()
        .rev()
        .map(|asked| asked.status)
        .collect();
    assert_eq!(statuses[..5], [200, 0, 200, 200, 503]);
}

#[test]
fn a_token_can_be_good_for_a_few_requests_only() {
    let mut host = Instance::launched();
    befallen(
        &mut host,
        json!({"service": "imds", "operation": "token", "effect": {"short-token": {"uses": 2}}}),
    );
    let headers = vec![(TTL_HEADER.to_owned(), "60".to_owned())];
    let put = Request {
        method: "PUT".into(),
        path: "/latest/api/token".into(),
        headers,
        ..Request::default()
    };
    let token = host_ports::faulty_metadata(&mut host.world.cloud, host.world.now, &host.id, &put)
        .response
        .body;
    let old = std::mem::replace(&mut host.token, String::from_utf8(token).expect("a token"));
    assert_eq!([(); 4].map(|()| host.get("/latest/user-data").0), [200, 200, 401, 401]);
    host.token = old;
    assert_eq!(host.get("/latest/user-data").0, 200, "others are as good as ever");
}

/// Catches: a Date that is off alone, which no host ever sees: AWS's times agree with each other.
#[test]
fn a_clock_that_is_off_is_off_in_all_that_is_told() {
    let mut host = Instance::launched();
    let path = "/latest/dynamic/instance-identity/document";
    let launched = |body: &[u8]| {
        let document: Value = serde_json::from_slice(body).expect("JSON");
        document["pendingTime"]
            .as_str()
            .and_then(|time| time.parse::<Timestamp>().ok())
            .expect("a time")
    };
    let right = launched(&host.answered(path).response.body);
    befallen(
        &mut host,
        json!({"service": "imds", "count": 9, "effect": {"clock-off": {"secs": -7200}}}),
    );
    let off = host.answered(path).response;
    assert_eq!(launched(&off.body), right - SignedDuration::from_hours(2));
    let date = off.headers.iter().find(|(name, _)| name == "date").expect("a Date");
    assert_eq!(date.1, http_date(host.world.now - SignedDuration::from_hours(2)));
}

#[test]
fn a_token_needs_a_time_to_live_and_no_proxy() {
    let mut host = Instance::launched();
    for (headers, status) in [
        (vec![], 400),
        (vec![(TTL_HEADER, "0")], 400),
        (vec![(TTL_HEADER, "21601")], 400),
        (vec![(TTL_HEADER, "soon")], 400),
        (vec![(TTL_HEADER, "60"), ("x-forwarded-for", "10.0.0.1")], 403),
        (vec![(TTL_HEADER, "21600")], 200),
    ] {
        assert_eq!(host.ask("PUT", "/latest/api/token", &headers).status, status, "{headers:?}");
    }
}

#[test]
fn every_get_needs_a_token_that_is_known_and_fresh() {
    let mut host = Instance::launched();
    let path = "/latest/meta-data/instance-id";
    assert_eq!(host.ask("GET", path, &[]).status, 401);
    assert_eq!(host.ask("GET", path, &[(TOKEN_HEADER, "made up")]).status, 401);
    assert_eq!(host.get(path), (200, host.id.clone()));
    host.world.now += SignedDuration::from_secs(60);
    assert_eq!(host.get(path).0, 401);
    let without = host_ports::asked(&host.world.cloud, &host.id)
        .iter()
        .filter(|asked| !asked.with_token && asked.method == "GET");
    assert_eq!(without.count(), 1);
}

#[test]
fn a_token_is_good_on_its_own_instance_alone() {
    let mut host = Instance::launched();
    let mut other = Instance::launched();
    other.token = std::mem::take(&mut host.token);
    let (id, token) = (other.id.clone(), other.token.clone());
    // Equal seeds give equal clouds: a second instance of the same cloud is needed.
    other.world.query(
        "ec2",
        "Action=RequestSpotInstances&LaunchSpecification.ImageId=ami-a7a242da&LaunchSpecification.InstanceType=t2.micro",
    );
    other.world.wait_ms(2_000);
    let second = other.world.cloud.events().iter().rev().find_map(|event| match &event.what {
        crate::journal::record::What::Launched { instance, .. } => Some(instance.clone()),
        _ => None,
    });
    other.id = second.expect("a second instance");
    assert_ne!(other.id, id);
    let request = Request {
        method: "GET".to_owned(),
        path: "/latest/meta-data/".to_owned(),
        headers: vec![(TOKEN_HEADER.to_owned(), token)],
        ..Request::default()
    };
    assert_eq!(
        host_ports::metadata(&mut other.world.cloud, other.world.now, &other.id, &request).status,
        401
    );
    assert_eq!(
        host_ports::metadata(&mut other.world.cloud, other.world.now, &id, &request).status,
        200
    );
}

#[test]
fn the_identity_document_tells_the_launch_time_and_each_answer_the_date() {
    let mut host = Instance::launched();
    let document = host.json("/latest/dynamic/instance-identity/document");
    let launch_time = ec2::instance(&host.world.cloud, &host.id).expect("it").launch_time;
    assert_eq!(document["pendingTime"], launch_time.to_string());
    assert_eq!(document["instanceId"], host.id);
    assert_eq!(document["availabilityZone"], "us-east-1a");
    assert_eq!(document["version"], "2017-09-30");
    let response = host.ask("GET", "/latest/meta-data/", &[]);
    assert!(
        response.headers.contains(&("date".to_owned(), "Tue, 24 Nov 2026 12:00:02 GMT".to_owned()))
    );
}

#[test]
fn user_data_comes_back_byte_for_byte_and_missing_leaves_are_404() {
    let mut host = Instance::launched();
    let token = host.token.clone();
    assert_eq!(host.ask("GET", "/latest/user-data", &[(TOKEN_HEADER, &token)]).body, b"\xff\xfe");
    for path in [
        "spot/instance-action",
        "spot/termination-time",
        "events/recommendations/rebalance",
        "tags/instance/x",
    ] {
        let (status, text) = host.get(&format!("/latest/meta-data/{path}"));
        assert!(
            status == 404 && text.contains("<title>404 - Not Found</title>"),
            "{path}: {status} {text}"
        );
    }
    assert_eq!(host.get("/latest/meta-data/events/maintenance/scheduled"), (200, "[]".to_owned()));
}

#[test]
fn directories_list_what_is_in_them() {
    let mut host = Instance::launched();
    assert_eq!(host.get("/latest/"), (200, "dynamic\nmeta-data\nuser-data".to_owned()));
    let (_, top) = host.get("/latest/meta-data/");
    for entry in ["instance-id", "placement/", "iam/", "services/"] {
        assert!(top.lines().any(|line| line == entry), "{entry} in {top}");
    }
    assert!(!top.contains("spot/") && !top.contains("tags/"), "{top}");
    assert_eq!(host.get("/latest/meta-data/placement").1, "availability-zone\nregion");
    assert_eq!(host.get("/latest/meta-data/iam/security-credentials/").1, "ecsInstanceRole");
    assert_eq!(host.get("/latest/meta-data/plac").0, 404);
}

#[test]
fn the_roles_credentials_are_recognised_as_the_instances() {
    let mut host = Instance::launched();
    let credentials = host.json("/latest/meta-data/iam/security-credentials/ecsInstanceRole");
    assert_eq!(
        (&credentials["Code"], &credentials["Expiration"]),
        (&json!("Success"), &json!("2026-11-24T18:00:02Z"))
    );
    let key = credentials["AccessKeyId"].as_str().expect("a key");
    let scope = format!(
        "Credential={key}/20261124/us-east-1/sts/aws4_request, SignedHeaders=host, Signature=0"
    );
    let request = Request {
        method: "POST".to_owned(),
        headers: vec![("authorization".to_owned(), format!("AWS4-HMAC-SHA256 {scope}"))],
        body: b"Action=GetCallerIdentity".to_vec(),
        ..Request::default()
    };
    let answer = host.world.send(&request);
    let arn = format!("assumed-role/ecsInstanceRole/{}", host.id);
    assert!(String::from_utf8_lossy(&answer.body).contains(&arn));
}

#[test]
fn signals_and_tags_appear_when_they_are_given() {
    let mut world = World::new();
    world.cloud.options.instance_metadata_tags = true;
    let mut host = Instance::launched_in(world);
    let (now, id) = (host.world.now, host.id.clone());
    ec2::rebalance(&mut host.world.cloud, now, &id);
    ec2::interrupt(
        &mut host.world.cloud,
        now,
        &id,
        "terminate",
        now + SignedDuration::from_secs(120),
    );
    host.world.query(
        "ec2",
        &format!(
            "Action=CreateTags&ResourceId.1={id}&Tag.1.Key=spotblock%3Ablock&Tag.1.Value=sb-1"
        ),
    );
    let action = host.json("/latest/meta-data/spot/instance-action");
    assert_eq!(action, json!({"action": "terminate", "time": "2026-11-24T12:02:02Z"}));
    let rebalance = host.json("/latest/meta-data/events/recommendations/rebalance");
    assert_eq!(rebalance, json!({"noticeTime": "2026-11-24T12:00:02Z"}));
    assert_eq!(
        host.get("/latest/meta-data/tags/instance/spotblock:block"),
        (200, "sb-1".to_owned())
    );
}
