//! Against a server on loopback that speaks ECS's protocol.

use aws_sdk_ecs::config::Credentials;
use serde_json::{Value, json};

use super::*;
use crate::testing::http::{self, Request};

/// ECS that answers an operation with what `answer` says: a status and a body.
async fn ecs(answer: impl Fn(&str, &Value) -> (u16, Value) + Send + Sync + 'static) -> Ecs {
    let url = http::serve(move |request: Request| {
        let operation =
            request.headers["x-amz-target"].rsplit('.').next().unwrap_or_default().to_owned();
        let (status, body) =
            answer(&operation, &serde_json::from_str(&request.body).expect("JSON"));
        (status, "x-amzn-RequestId: r-1\r\n".to_owned(), body.to_string().into_bytes())
    })
    .await;
    at(url)
}

fn at(url: String) -> Ecs {
    let parts = Parts {
        region: "us-east-1".into(),
        endpoint: Some(url),
        http: crate::adapters::http_client(),
        credentials: SharedCredentialsProvider::new(Credentials::new("a", "b", None, None, "test")),
        time: SharedTimeSource::default(),
    };
    Ecs::new(parts, "c".into(), "i-0a1b".into())
}

fn own() -> Registration {
    Registration { instance: "arn:own".into(), cluster: "c".into() }
}

fn refused(code: &str, message: &str) -> (u16, Value) {
    (400, json!({"__type": code, "message": message}))
}

/// Catches: counting by the desired status, under which a task that is being stopped is gone
/// already.
#[tokio::test]
async fn a_survey_goes_by_the_last_status_and_knows_what_ecs_forgot() {
    let ecs = ecs(|operation, asked| {
        let body = match operation {
            "DescribeContainerInstances" => json!({"containerInstances":
                [{"containerInstanceArn": "arn:own", "status": "DRAINING", "pendingTasksCount": 1}]}),
            "ListTasks" if asked["desiredStatus"] == "RUNNING" && asked["nextToken"].is_null() => {
                json!({"taskArns": ["running"], "nextToken": "2"})
            }
            "ListTasks" if asked["desiredStatus"] == "RUNNING" => json!({"taskArns": ["just-placed"]}),
            "ListTasks" => json!({"taskArns": ["stopping", "stopped"]}),
            "DescribeTasks" => json!({"tasks": [
                {"taskArn": "running", "lastStatus": "RUNNING", "desiredStatus": "RUNNING"},
                {"taskArn": "stopping", "lastStatus": "RUNNING", "desiredStatus": "STOPPED"},
                {"taskArn": "stopped", "lastStatus": "STOPPED", "desiredStatus": "STOPPED"}]}),
            other => panic!("{other}"),
        };
        (200, body)
    })
    .await;
    let survey = ecs.survey(&own(), &["forgotten".to_owned()]).await.expect("a survey");
    assert_eq!((survey.status, survey.pending), (InstanceStatus::Draining, 1));
    let wanted = [
        ("forgotten", true),
        ("just-placed", false),
        ("running", false),
        ("stopped", true),
        ("stopping", false),
    ];
    assert_eq!(survey.tasks, wanted.map(|(task, stopped)| (task.to_owned(), stopped)).into());
}

#[tokio::test]
async fn an_instance_that_ecs_doesn_t_know_is_gone() {
    let ecs =
        ecs(|_, _| (200, json!({"containerInstances": [], "failures": [{"reason": "MISSING"}]})))
            .await;
    assert_eq!(ecs.status(&own()).await.expect("a status"), InstanceStatus::Gone);
    let survey = ecs.survey(&own(), &["t".to_owned()]).await.expect("a survey");
    assert_eq!(
        (survey.status, survey.tasks),
        (InstanceStatus::Gone, [("t".to_owned(), true)].into())
    );
}

#[tokio::test]
async fn draining_is_confirmed_by_the_answer_and_not_by_its_mere_arrival() {
    let confirmed = ecs(|_, asked| {
        assert_eq!(
            (asked["status"].as_str(), asked["cluster"].as_str()),
            (Some("DRAINING"), Some("c"))
        );
        (200, json!({"containerInstances": [{"status": "DRAINING"}]}))
    });
    assert_eq!(confirmed.await.drain(&own()).await.expect("an answer"), InstanceStatus::Draining);
    let failed =
        ecs(|_, _| (200, json!({"failures": [{"arn": "arn:own", "reason": "INACTIVE"}]}))).await;
    let error = failed.drain(&own()).await.expect_err("a failure");
    assert!(error.to_string().contains("INACTIVE"), "{error}");
    assert_eq!(error.outcome, Outcome::Retry);
}

#[tokio::test]
async fn what_is_gone_already_is_done() {
    let ecs =
        ecs(|_, _| refused("InvalidParameterException", "The referenced task was not found."))
            .await;
    ecs.stop_task(&own(), "t", "why").await.expect("done");
    ecs.deregister(&own()).await.expect("done");
}

#[tokio::test]
async fn a_failure_names_operation_object_code_and_request() {
    let ecs = ecs(|_, _| refused("AccessDeniedException", "no permission")).await;
    let error = ecs.stop_task(&own(), "t", "why").await.expect_err("refused");
    let text = error.to_string();
    for part in ["StopTask", "for t", "AccessDeniedException", "no permission", "r-1"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert_eq!(error.outcome, Outcome::Refused);
}

/// Catches: a load balancer's error page, or an answer that was cut, of which nobody learns more
/// than that it was no JSON.
#[tokio::test]
async fn an_answer_that_is_none_of_ecs_s_is_named_by_its_status() {
    for (status, body) in [(503, "<html>"), (200, "{\"containerInst"), (400, "no")] {
        let url = http::serve(move |_| (status, String::new(), body.as_bytes().to_vec())).await;
        let error = at(url).status(&own()).await.expect_err("no answer");
        assert!(
            error.problem.starts_with(&format!("HTTP {status}, and no answer of ECS's: ")),
            "{error}"
        );
        assert_eq!(error.outcome, Outcome::Retry, "{error}");
    }
}

/// Catches: another host's registration taken for this one's.
#[tokio::test]
async fn a_registration_is_found_by_the_instance_s_own_id() {
    let ecs = ecs(|operation, _| {
        let body = match operation {
            "ListContainerInstances" => json!({"containerInstanceArns": ["arn:other", "arn:own"]}),
            _ => json!({"containerInstances": [
                {"containerInstanceArn": "arn:other", "ec2InstanceId": "i-ffff"},
                {"containerInstanceArn": "arn:own", "ec2InstanceId": "i-0a1b"}]}),
        };
        (200, body)
    });
    assert_eq!(ecs.await.find().await.expect("an answer"), Some(own()));
    let nobody = self::ecs(|_, _| (200, json!({"containerInstanceArns": []}))).await;
    assert_eq!(nobody.find().await.expect("an answer"), None);
}

#[test]
fn failures_are_classified_by_code_and_status() {
    let cases = [
        ("AccessDeniedException", 400, Outcome::Refused),
        ("InvalidParameterException", 400, Outcome::Refused),
        ("ClusterNotFoundException", 400, Outcome::Refused),
        ("ThrottlingException", 400, Outcome::Retry),
        ("ServerException", 500, Outcome::Retry),
        ("ExpiredTokenException", 400, Outcome::Retry),
        ("AccessDeniedException", 503, Outcome::Retry),
        ("SomethingNewException", 400, Outcome::Retry),
    ];
    for (code, status, wanted) in cases {
        assert_eq!(classify(code, status), wanted, "{code} {status}");
    }
}

#[test]
fn only_a_status_that_is_known_as_such_takes_no_tasks() {
    assert_eq!(status_of(Some("DRAINING")), InstanceStatus::Draining);
    assert_eq!(status_of(Some("INACTIVE")), InstanceStatus::Gone);
    assert_eq!(status_of(Some("REGISTERING")), InstanceStatus::Other("REGISTERING".into()));
    assert_eq!(status_of(None), InstanceStatus::Other(String::new()));
}

/// Catches: credentials that can't be had, and a failure that says "dispatch failure" and no more.
#[tokio::test]
async fn missing_and_expired_credentials_are_named() {
    let expired = ecs(|_, _| {
        refused("ExpiredTokenException", "The security token included in the request is expired")
    });
    let error = expired.await.status(&own()).await.expect_err("expired");
    assert!(error.problem.starts_with("ExpiredTokenException"), "{error}");
    assert_eq!(error.outcome, Outcome::Retry, "the next ones are fresh");

    #[derive(Debug)]
    struct NoRole;
    impl aws_credential_types::provider::ProvideCredentials for NoRole {
        fn provide_credentials<'a>(
            &'a self,
        ) -> aws_credential_types::provider::future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let error = aws_credential_types::provider::error::CredentialsError::not_loaded(
                "no role in IMDS",
            );
            aws_credential_types::provider::future::ProvideCredentials::ready(Err(error))
        }
    }
    let parts = Parts {
        region: "us-east-1".into(),
        endpoint: Some("http://127.0.0.1:1".into()),
        http: crate::adapters::http_client(),
        credentials: SharedCredentialsProvider::new(NoRole),
        time: SharedTimeSource::default(),
    };
    let error = Ecs::new(parts, "c".into(), "i-0a1b".into())
        .status(&own())
        .await
        .expect_err("no credentials");
    assert!(error.to_string().contains("credential"), "{error}");
    assert_eq!(error.outcome, Outcome::Retry);
}

/// Catches: attributes that ECS couldn't put on this instance, or a missing right that is asked for
/// again and again.
#[tokio::test]
async fn an_extension_is_answered_by_two_attributes_of_the_container_instance() {
    let answer = ExtensionAnswer {
        of: own(),
        asked: "2026-11-24T12:00:00Z".parse().expect("a time"),
        end: "2026-11-24T11:10:00Z".parse().expect("a time"),
    };
    let taken = ecs(|operation, asked| {
        assert_eq!(operation, "PutAttributes");
        let attribute =
            |name: &str, value: &str| json!({"name": name, "value": value, "targetId": "arn:own"});
        let both = [
            attribute("spotblock.end", "2026-11-24T11:10:00Z"),
            attribute("spotblock.end-asked", "2026-11-24T12:00:00Z"),
        ];
        assert_eq!(*asked, json!({"cluster": "c", "attributes": both}));
        (200, json!({"attributes": both}))
    })
    .await;
    taken.answer_extension(&answer).await.expect("taken");
    for (code, outcome) in [
        ("AccessDeniedException", Outcome::Refused),
        ("AttributeLimitExceededException", Outcome::Refused),
        ("TargetNotFoundException", Outcome::Retry),
    ] {
        let ecs = ecs(move |_, _| refused(code, "no")).await;
        assert_eq!(ecs.answer_extension(&answer).await.expect_err(code).outcome, outcome, "{code}");
    }
}
