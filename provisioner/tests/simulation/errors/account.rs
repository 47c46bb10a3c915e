//! Credentials and endpoints: what AWS says about the caller rather than about the call, and AWS
//! that says nothing.

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use localcloud_core::cloud::faults::Effect;
use localcloud_core::{Fault, Options};

use super::super::World;
use super::says;

#[derive(Debug)]
struct NoCredentials(fn() -> CredentialsError);

impl ProvideCredentials for NoCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Err((self.0)()))
    }
}

#[tokio::test(start_paused = true)]
async fn missing_credentials_are_said_with_where_to_get_some() {
    let none = || CredentialsError::not_loaded("no providers in chain provided credentials");
    let sso = || CredentialsError::provider_error("the SSO token has expired, or is missing");
    for (name, problem, next) in [
        (
            "none",
            none as fn() -> CredentialsError,
            "next: no credentials were found: run `aws configure` or",
        ),
        (
            "expired SSO",
            sso,
            "next: the credentials have expired: sign in again (`aws sso login`, or new keys)",
        ),
    ] {
        let world = World::new(Options::default());
        let world = world.with_credentials(SharedCredentialsProvider::new(NoCredentials(problem)));
        let run = world.run(&["up"]).await;
        says(
            name,
            &run,
            1,
            &["batch:DescribeComputeEnvironments for spot-block-test failed: ", next],
        );
        assert_eq!(world.calls(), 0);
    }
}

fn fault(world: &World, operation: &str, effect: Effect) {
    let operation = Some(operation.to_owned());
    let fault = Fault { service: None, operation, caller: None, skip: 0, count: u32::MAX, effect };
    world.cloud(|cloud| cloud.add_fault(fault));
}

/// What AWS says about the caller rather than about the call.
#[tokio::test(start_paused = true)]
async fn what_aws_says_about_the_caller_is_said_with_what_to_do() {
    let expired = "next: the credentials have expired: sign in again";
    for (operation, code, next) in [
        ("DescribeComputeEnvironments", "ExpiredTokenException", expired),
        ("GetRole", "ExpiredToken", expired),
        ("CreateLaunchTemplate", "RequestExpired", expired),
        ("RequestSpotInstances", "RequestExpired", expired),
        (
            "GetRole",
            "InvalidClientTokenId",
            "next: AWS doesn't accept these credentials: check `aws sts get-caller-identity`",
        ),
        ("DescribeSubnets", "AuthFailure", "next: AWS doesn't accept these credentials"),
        (
            "RequestSpotInstances",
            "AuthFailure.ServiceLinkedRoleCreationNotPermitted",
            "next: this account has never had spot instances: run `aws iam \
             create-service-linked-role",
        ),
        (
            "RequestSpotInstances",
            "IdempotentParameterMismatch",
            "next: the block was bought already, with other parameters",
        ),
    ] {
        let world = World::new(Options::default());
        fault(
            &world,
            operation,
            Effect::Fail { code: code.into(), status: 400, message: "so it is".into() },
        );
        let run = world.run(&["up"]).await;
        says(
            code,
            &run,
            1,
            &[
                &format!(":{operation} for "),
                &format!(" failed: {code}: so it is (request id "),
                next,
            ],
        );
        assert_eq!(world.launched().len(), 0, "{code}");
        // It says nothing about the block: when it is repaired, the same one is bought.
        world.cloud(localcloud_core::Cloud::clear_faults);
        let again = world.run(&["up"]).await;
        assert_eq!(again.code, 0, "{code}: {}", again.stderr);
        assert_eq!(world.accepted("CreateLaunchTemplate").len(), 1, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn aws_that_can_not_be_reached_is_given_up_after_some_time() {
    let world = World::new(Options::default());
    world.cut_off();
    let start = world.now();
    let run = world.run(&["up"]).await;
    let parts = [
        "batch:DescribeComputeEnvironments for spot-block-test failed: ",
        "connection refused",
        "next: AWS's endpoint gave no answer: check the network, --region and --endpoint-url",
    ];
    says("connection refused", &run, 1, &parts);
    assert!(start.duration_until(world.now()).as_secs() < 60);

    let world = World::new(Options::default());
    fault(&world, "DescribeComputeEnvironments", Effect::Hang { secs: 3600 });
    let start = world.now();
    says(
        "no answer",
        &world.run(&["up"]).await,
        1,
        &["batch:DescribeComputeEnvironments", "gave no answer"],
    );
    assert!(start.duration_until(world.now()).as_secs() < 120);
}
