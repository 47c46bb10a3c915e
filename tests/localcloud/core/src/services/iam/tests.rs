//! IAM as its callers see it.

use serde_json::json;

use crate::cloud::testing::{World, all, between, contains};

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
const POLICY: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ecs:StopTask","Resource":"*"}}"#;

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn create_role(name: &str, trust: &str) -> String {
    format!("Action=CreateRole&RoleName={name}&AssumeRolePolicyDocument={}", encoded(trust))
}

fn put_policy(document: &str) -> String {
    format!("Action=PutRolePolicy&RoleName=r&PolicyName=p&PolicyDocument={}", encoded(document))
}

#[test]
fn the_example_account_has_its_roles_and_profile() {
    let mut world = World::new();
    let role = world.query("iam", "Action=GetRole&RoleName=BatchServiceRole");
    assert!(contains(&role, "<Arn>arn:aws:iam::123456789012:role/BatchServiceRole</Arn>"));
    let document = between(&role, "AssumeRolePolicyDocument").expect("a trust policy");
    assert!(document.starts_with("%7B%22Version%22"), "{document}");
    let profile =
        world.query("iam", "Action=GetInstanceProfile&InstanceProfileName=ecsInstanceRole");
    assert!(contains(&profile, "<RoleName>ecsInstanceRole</RoleName>"));
    let attached = world.query("iam", "Action=ListAttachedRolePolicies&RoleName=ecsInstanceRole");
    assert_eq!(all(&attached, "PolicyName"), ["AmazonEC2ContainerServiceforEC2Role"]);
}

#[test]
fn a_role_and_its_profile_are_made_and_deleted_in_aws_order() {
    let mut world = World::new();
    let arn = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore";
    for form in [
        create_role("r", TRUST),
        put_policy(POLICY),
        format!("Action=AttachRolePolicy&RoleName=r&PolicyArn={arn}"),
        "Action=CreateInstanceProfile&InstanceProfileName=ip".to_owned(),
        "Action=AddRoleToInstanceProfile&InstanceProfileName=ip&RoleName=r".to_owned(),
        "Action=TagRole&RoleName=r&Tags.member.1.Key=k&Tags.member.1.Value=v".to_owned(),
    ] {
        world.query("iam", &form);
    }
    let got = world.query("iam", "Action=GetRolePolicy&RoleName=r&PolicyName=p");
    let document = between(&got, "PolicyDocument").expect("a document");
    assert_eq!(percent_encoding::percent_decode_str(document).decode_utf8_lossy(), POLICY);
    assert!(contains(
        &world.query("iam", "Action=GetRole&RoleName=r"),
        "<Tags><member><Key>k</Key><Value>v</Value>"
    ));
    let listed = world.query("iam", "Action=ListInstanceProfilesForRole&RoleName=r");
    assert_eq!(all(&listed, "InstanceProfileName"), ["ip"]);
    let second = world.try_query(
        "iam",
        "Action=AddRoleToInstanceProfile&InstanceProfileName=ip&RoleName=ecsInstanceRole",
    );
    assert!(second.expect_err("a second role").starts_with("409 LimitExceeded"));

    let delete_role = "Action=DeleteRole&RoleName=r";
    let delete_profile = "Action=DeleteInstanceProfile&InstanceProfileName=ip";
    let conflict = |world: &mut World, form: &str| {
        let error = world.try_query("iam", form).expect_err("something hangs on it");
        assert!(error.starts_with("409 DeleteConflict"), "{error}");
    };
    conflict(&mut world, delete_role);
    conflict(&mut world, delete_profile);
    world.query("iam", "Action=RemoveRoleFromInstanceProfile&InstanceProfileName=ip&RoleName=r");
    world.query("iam", delete_profile);
    conflict(&mut world, delete_role);
    world.query("iam", &format!("Action=DetachRolePolicy&RoleName=r&PolicyArn={arn}"));
    conflict(&mut world, delete_role);
    world.query("iam", "Action=DeleteRolePolicy&RoleName=r&PolicyName=p");
    world.query("iam", delete_role);
    let error = world.try_query("iam", "Action=GetRole&RoleName=r").expect_err("deleted");
    assert_eq!(error, "404 NoSuchEntity: The role with name r cannot be found.");
}

#[test]
fn wrong_documents_and_names_are_refused() {
    let mut world = World::new();
    world.query("iam", &create_role("r", TRUST));
    for document in ["{", "{}", r#"{"Version":"2012-10-17","Statement":[]}"#, POLICY] {
        let error = world.try_query("iam", &create_role("x", document)).expect_err(document);
        assert!(error.starts_with("400 MalformedPolicyDocument"), "{error}");
    }
    for document in [TRUST, r#"{"Statement":{"Effect":"Allow","Action":"ecs:StopTask"}}"#] {
        let error = world.try_query("iam", &put_policy(document)).expect_err(document);
        assert!(error.starts_with("400 MalformedPolicyDocument"), "{error}");
    }
    for (form, code) in [
        (create_role("r", TRUST), "409 EntityAlreadyExists"),
        (create_role("two+words%20", TRUST), "400 ValidationError"),
        (create_role(&"r".repeat(65), TRUST), "400 ValidationError"),
        ("Action=GetRole".to_owned(), "400 ValidationError"),
        (
            "Action=AttachRolePolicy&RoleName=r&PolicyArn=arn:aws:iam::aws:policy/None".to_owned(),
            "404 NoSuchEntity",
        ),
        ("Action=GetRolePolicy&RoleName=r&PolicyName=p".to_owned(), "404 NoSuchEntity"),
        (
            "Action=CreateInstanceProfile&InstanceProfileName=ecsInstanceRole".to_owned(),
            "409 EntityAlreadyExists",
        ),
        ("Action=GetInstanceProfile&InstanceProfileName=none".to_owned(), "404 NoSuchEntity"),
    ] {
        let error = world.try_query("iam", &form).expect_err(code);
        assert!(error.starts_with(code), "{form}: {error}");
    }
}

#[test]
fn a_service_linked_role_is_made_once() {
    let mut world = World::new();
    let form = "Action=CreateServiceLinkedRole&AWSServiceName=spot.amazonaws.com";
    let arn = "role/aws-service-role/spot.amazonaws.com/AWSServiceRoleForEC2Spot</Arn>";
    assert!(contains(&world.query("iam", form), arn));
    let error = world.try_query("iam", form).expect_err("again");
    assert!(error.starts_with("400 InvalidInput"), "{error}");
}

/// Catches: EC2 taking a profile before it could know it.
#[test]
fn a_new_profile_is_not_usable_at_once() {
    let mut world = World::new();
    world.query("iam", &create_role("r", TRUST));
    world.query("iam", "Action=CreateInstanceProfile&InstanceProfileName=ip");
    world.query("iam", "Action=AddRoleToInstanceProfile&InstanceProfileName=ip&RoleName=r");
    let form = "Action=RequestSpotInstances&LaunchSpecification.ImageId=ami-a7a242da&LaunchSpecification.InstanceType=t2.micro&LaunchSpecification.IamInstanceProfile.Name=ip";
    let error = world.try_query("ec2", form).expect_err("too new");
    assert!(error.contains("Invalid IAM Instance Profile name"), "{error}");
    world.wait_ms(1_500);
    world.query("ec2", form);
}

/// A one-time spot instance with this profile.
fn instance_with(world: &mut World, profile: &str) -> String {
    let form = "Action=RequestSpotInstances&LaunchSpecification.ImageId=ami-a7a242da&LaunchSpecification.InstanceType=t2.micro&LaunchSpecification.IamInstanceProfile.Name=";
    world.query("ec2", &format!("{form}{profile}"));
    world.wait_ms(2_000);
    let all_of = world.query("ec2", "Action=DescribeInstances");
    all(&all_of, "instanceId").last().expect("an instance").to_string()
}

/// Catches: policies that are kept and not enforced on instances, whose role every job can use.
#[test]
fn an_instance_may_do_what_its_roles_policies_allow() {
    let mut world = World::new();
    world.query("iam", &create_role("r", TRUST));
    world.query("iam", &put_policy(POLICY));
    world.query("iam", "Action=CreateInstanceProfile&InstanceProfileName=ip");
    world.query("iam", "Action=AddRoleToInstanceProfile&InstanceProfileName=ip&RoleName=r");
    world.wait_ms(2_000);
    world.call("ecs", "CreateCluster", json!({"clusterName": "c"})).expect("a cluster");
    let stop = || json!({"cluster": "c", "task": "t"});
    let list = || json!({"cluster": "c"});
    world.query(
        "iam",
        "Action=DeleteRolePolicy&RoleName=ecsInstanceRole&PolicyName=spotblock-agent",
    );
    // Its only policy: stopping tasks. Then AWS's own for container instances: joining, and no
    // looking around.
    let cases = [
        ("ip", "StopTask", stop(), true),
        ("ip", "ListContainerInstances", list(), false),
        (
            "ip",
            "DeregisterContainerInstance",
            json!({"cluster": "c", "containerInstance": "x"}),
            false,
        ),
        ("ecsInstanceRole", "StopTask", stop(), false),
        ("ecsInstanceRole", "ListContainerInstances", list(), false),
        (
            "ecsInstanceRole",
            "DeregisterContainerInstance",
            json!({"cluster": "c", "containerInstance": "x"}),
            true,
        ),
    ];
    for (profile, operation, parameters, allowed) in cases {
        let role = if profile == "ip" { "r" } else { profile };
        let simulated = world.query(
            "iam",
            &format!(
                "Action=SimulatePrincipalPolicy&PolicySourceArn=arn:aws:iam::123456789012:role/{role}&ActionNames.member.1=ecs:{operation}"
            ),
        );
        let decision = if allowed { "allowed" } else { "implicitDeny" };
        assert_eq!(between(&simulated, "EvalDecision"), Some(decision), "{profile} {operation}");
        let instance = instance_with(&mut world, profile);
        let (code, message) =
            world.call_from(&instance, operation, parameters).expect_err("nothing there");
        let denied = code == "AccessDeniedException";
        assert_eq!(denied, !allowed, "{profile} {operation}: {code} {message}");
        if denied {
            assert!(
                message.contains(&format!(
                    "/{instance} is not authorized to perform: ecs:{operation} on "
                )),
                "{message}"
            );
        }
    }
}

/// Catches: users' policies that are read by action alone; a denied call that has an effect.
#[test]
fn users_that_are_held_to_policies_may_do_no_more() {
    let mut world = World::new();
    let (ours, other) = (
        instance_with(&mut world, "ecsInstanceRole"),
        instance_with(&mut world, "ecsInstanceRole"),
    );
    world.query(
        "ec2",
        &format!("Action=CreateTags&ResourceId.1={ours}&Tag.1.Key=env&Tag.1.Value=a"),
    );
    let marked = json!({"StringEquals": {"aws:ResourceTag/env": "a"}});
    let asked = json!({"StringEquals": {"aws:RequestTag/env": "a"}});
    let statement = |actions: &[&str], condition| json!({"Effect": "Allow", "Action": actions, "Resource": "*", "Condition": condition});
    let policy = json!({"Statement": [
        statement(&["ec2:TerminateInstances"], marked),
        statement(&["ec2:CreateTags"], asked),
        {"Effect": "Allow", "Action": ["ec2:DescribeInstances", "ec2:RunInstances"], "Resource": "*"},
    ]});
    world.cloud.hold_users_to(vec![policy]);
    let end = |id: &str| format!("Action=TerminateInstances&InstanceId.1={id}");
    let tag = |id: &str, value: &str| {
        format!("Action=CreateTags&ResourceId.1={id}&Tag.1.Key=env&Tag.1.Value={value}")
    };
    let run =
        "Action=RunInstances&ImageId=ami-a7a242da&InstanceType=t2.micro&MinCount=1&MaxCount=1";
    let run_marked = format!(
        "{run}&TagSpecification.1.ResourceType=instance&TagSpecification.1.Tag.1.Key=env&TagSpecification.1.Tag.1.Value=b"
    );
    for (form, denied) in [
        (end(&other), "ec2:TerminateInstances"),
        (format!("{}&InstanceId.2={other}", end(&ours)), "ec2:TerminateInstances"),
        (tag(&other, "b"), "ec2:CreateTags"),
        (run_marked, "ec2:CreateTags"),
        (format!("{run}&IamInstanceProfile.Name=ecsInstanceRole"), "iam:PassRole"),
        ("Action=DescribeSubnets".to_owned(), "ec2:DescribeSubnets"),
    ] {
        let error = world.try_query("ec2", &form).expect_err(denied);
        assert!(
            error.starts_with("403 UnauthorizedOperation") && error.contains(denied),
            "{form}: {error}"
        );
    }
    world.query("ec2", run);
    world.query("ec2", &end(&ours));
    let states = world.query("ec2", &format!("Action=DescribeInstances&InstanceId.1={other}"));
    assert!(contains(&states, "<name>running</name>"));
    let everything = json!({"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}});
    world.cloud.hold_users_to(vec![everything]);
    world.query("ec2", &end(&other));
}
